//! Memory of small planes, kept by the thread that let go of it: pieces of a picture are made and dropped by the thousand, and giving
//! pages back and asking for them again took a fifth of an inspection.

use std::cell::RefCell;

/// Values of a buffer that is worth keeping, and of all that a thread keeps.
const WORTH: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 20;
const MOST: usize = 3 << 20;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { buffers: Vec::new(), values: 0 }) };
}

struct Kept {
    buffers: Vec<Vec<f32>>,
    values: usize,
}

/// `n` values of any kind.
pub fn take(n: usize) -> Vec<f32> {
    if WORTH.contains(&n) {
        let fits = |b: &Vec<f32>| b.capacity() >= n && b.capacity() <= 2 * n;
        // The last one given is the likeliest to be in the cache.
        let found = KEPT.try_with(|kept| {
            let mut kept = kept.try_borrow_mut().ok()?;
            let at = kept.buffers.iter().rposition(fits)?;
            let buffer = kept.buffers.remove(at);
            kept.values -= buffer.capacity();
            Some(buffer)
        });
        if let Ok(Some(mut buffer)) = found {
            buffer.resize(n, 0.0);
            return buffer;
        }
    }
    vec![0.0; n]
}

/// `n` zeros.
pub fn zeros(n: usize) -> Vec<f32> {
    if !WORTH.contains(&n) {
        return vec![0.0; n];
    }
    let mut buffer = take(n);
    buffer.fill(0.0);
    buffer
}

/// Lets go of a buffer.
pub fn give(buffer: Vec<f32>) {
    if !WORTH.contains(&buffer.capacity()) {
        return;
    }
    // What does not fit is freed; so is everything when the thread ends.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.values + buffer.capacity() <= MOST
        {
            kept.values += buffer.capacity();
            kept.buffers.push(buffer);
        }
    });
}

/// Lets go of everything that this pool's threads keep, when they come to it.
pub fn clear() {
    fn clear_one() {
        let _ = KEPT.try_with(|kept| kept.try_borrow_mut().map(|mut kept| *kept = Kept { buffers: Vec::new(), values: 0 }));
    }
    clear_one();
    rayon::spawn_broadcast(|_| clear_one());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_taken_again_and_zeros_are_zeros() {
        let mut buffer = zeros(5000);
        buffer.fill(3.0);
        let at = buffer.as_ptr();
        give(buffer);
        let again = zeros(4500);
        assert_eq!((again.as_ptr(), again.len()), (at, 4500));
        assert!(again.iter().all(|v| *v == 0.0));
        give(again);
        // Much smaller ones would waste it, small and large ones are not kept.
        let small = take(2000);
        assert_ne!(small.as_ptr(), at);
        drop(small);
        give(vec![1.0; 7]);
        give(vec![1.0; (1 << 20) + 1]);
        assert_eq!(KEPT.with(|k| k.borrow().buffers.len()), 1);
    }
}
