//! Memory of small planes and masks, kept by the thread that let go of it: pieces of a picture are made and dropped by the thousand,
//! and giving pages back and asking for them again took a fifth of an inspection.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Bytes of a buffer that is worth keeping, and of all of one kind that a thread keeps.
const WORTH: std::ops::RangeInclusive<usize> = 1 << 12..=1 << 22;
const MOST: usize = 16 << 20;

/// What a thread keeps.
pub struct Kept<T> {
    buffers: Vec<Vec<T>>,
    bytes: usize,
}

impl<T> Kept<T> {
    const NONE: Self = Self { buffers: Vec::new(), bytes: 0 };
}

/// What buffers are made of.
pub trait Part: Copy + Default + 'static {
    fn kept() -> &'static LocalKey<RefCell<Kept<Self>>>;
}

macro_rules! parts {
    ($($part:ty),*) => {$(
        impl Part for $part {
            fn kept() -> &'static LocalKey<RefCell<Kept<Self>>> {
                thread_local! {
                    static KEPT: RefCell<Kept<$part>> = const { RefCell::new(Kept::NONE) };
                }
                &KEPT
            }
        }
    )*};
}

parts!(f32, u8);

/// `n` values of any kind.
pub fn take<T: Part>(n: usize) -> Vec<T> {
    if WORTH.contains(&(n * size_of::<T>())) {
        let fits = |b: &Vec<T>| b.capacity() >= n && b.capacity() <= 2 * n;
        // The last one given is the likeliest to be in the cache.
        let found = T::kept().try_with(|kept| {
            let mut kept = kept.try_borrow_mut().ok()?;
            let at = kept.buffers.iter().rposition(fits)?;
            let buffer = kept.buffers.remove(at);
            kept.bytes -= buffer.capacity() * size_of::<T>();
            Some(buffer)
        });
        if let Ok(Some(mut buffer)) = found {
            buffer.resize(n, T::default());
            return buffer;
        }
    }
    vec![T::default(); n]
}

/// `n` zeros.
pub fn zeros<T: Part>(n: usize) -> Vec<T> {
    if !WORTH.contains(&(n * size_of::<T>())) {
        return vec![T::default(); n];
    }
    let mut buffer = take(n);
    buffer.fill(T::default());
    buffer
}

/// Lets go of a buffer.
pub fn give<T: Part>(buffer: Vec<T>) {
    let bytes = buffer.capacity() * size_of::<T>();
    if !WORTH.contains(&bytes) {
        return;
    }
    // What does not fit is freed; so is everything when the thread ends.
    let _ = T::kept().try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.bytes + bytes <= MOST
        {
            kept.bytes += bytes;
            kept.buffers.push(buffer);
        }
    });
}

/// Lets go of everything that this pool's threads keep, when they come to it.
pub fn clear() {
    fn of<T: Part>() {
        let _ = T::kept().try_with(|kept| kept.try_borrow_mut().map(|mut kept| *kept = Kept::NONE));
    }
    fn all() {
        of::<f32>();
        of::<u8>();
    }
    all();
    rayon::spawn_broadcast(|_| all());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_taken_again_and_zeros_are_zeros() {
        let mut buffer = zeros::<f32>(5000);
        buffer.fill(3.0);
        let at = buffer.as_ptr();
        give(buffer);
        let again = zeros::<f32>(4500);
        assert_eq!((again.as_ptr(), again.len()), (at, 4500));
        assert!(again.iter().all(|v| *v == 0.0));
        give(again);
        // Much smaller ones would waste it, small and large ones are not kept.
        let small = take::<f32>(2000);
        assert_ne!(small.as_ptr(), at);
        drop(small);
        give(vec![1.0f32; 7]);
        give(vec![1.0f32; (1 << 20) + 1]);
        assert_eq!(f32::kept().with(|k| k.borrow().buffers.len()), 1);
    }
}
