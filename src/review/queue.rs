//! In which order a person sees the pictures: the worst first, then those that passed by little and a few chosen by lot, then the
//! rest at a glance.

use serde::Serialize;

use super::Picture;
use crate::batch::journal::sha256;
use crate::inspect::Verdict;

/// How many pictures that passed are shown all the same.
pub const SAMPLE: usize = 20;
/// Score from which a picture passed by little: of one clean picture in ten all detectors together say as much.
const CLOSE: f64 = 0.9;
/// Most pictures that are shown for having passed by little, and their share of those that passed.
const CLOSEST: (usize, f64) = (10, 0.1);

/// Indices into the pictures, each picture once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Queue {
    /// Flagged, worst first; then pictures that nothing inspected.
    pub flagged: Vec<usize>,
    /// Passed and looked at all the same: the first `close` by little, worst first, then [`SAMPLE`] others, chosen by lot.
    pub sample: Vec<usize>,
    /// How many of `sample` stand there for their scores.
    pub close: usize,
    /// Passed; shown as a contact sheet only.
    pub rest: Vec<usize>,
}

impl Queue {
    /// Sorts the pictures. The lot is drawn by hashing `seed` with each picture's own hash, so the same folder with the same
    /// seed always gives the same sample, whatever else is in it.
    pub fn new(pictures: &[Picture], seed: u64) -> Self {
        let mut queue = Self::default();
        for (i, p) in pictures.iter().enumerate() {
            match &p.report {
                Some(r) if r.verdict == Verdict::Pass => queue.rest.push(i),
                _ => queue.flagged.push(i),
            }
        }
        // Reject before review before uninspected; within one, the higher score; the name settles ties.
        let rank = |i: &usize| pictures[*i].report.as_ref().map_or((0, 0.0), |r| (r.verdict as u8 + 1, r.score));
        let worst = |a: &usize, b: &usize| {
            let ((va, sa), (vb, sb)) = (rank(a), rank(b));
            vb.cmp(&va).then(sb.total_cmp(&sa)).then_with(|| pictures[*a].name.cmp(&pictures[*b].name))
        };
        queue.flagged.sort_by(worst);
        queue.rest.sort_by(worst);
        let most = CLOSEST.0.min((queue.rest.len() as f64 * CLOSEST.1).ceil() as usize);
        queue.close = queue.rest.iter().take(most).take_while(|i| rank(i).1 >= CLOSE).count();
        let close: Vec<usize> = queue.rest.drain(..queue.close).collect();
        queue.rest.sort_by_cached_key(|i| sha256(format!("{seed} {}", pictures[*i].sha256).as_bytes()));
        queue.sample = queue.rest.drain(..SAMPLE.min(queue.rest.len())).collect();
        queue.sample.sort_by(worst);
        queue.sample.splice(0..0, close);
        queue.rest.sort_by(worst);
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Report;

    fn picture(name: &str, found: Option<(Verdict, f64)>) -> Picture {
        let report = found.map(|(verdict, score)| {
            let line = r#"{"event":"report","input":"","source":null,"verdict":"pass","score":0,"detectors":{},"not_applicable":[],"findings":[],"table":""}"#;
            Report { verdict, score, ..serde_json::from_str(line).unwrap() }
        });
        Picture { name: name.into(), sha256: sha256(name.as_bytes()), report, ..Picture::default() }
    }

    #[test]
    fn worst_first_then_a_lot_then_the_rest() {
        use Verdict::{Pass, Reject, Review};
        let mut all = vec![
            picture("new", None),
            picture("b", Some((Review, 0.9))),
            picture("a", Some((Review, 0.9))),
            picture("low", Some((Reject, 0.6))),
            picture("high", Some((Reject, 0.8))),
        ];
        all.extend((0..30).map(|i| picture(&format!("p{i:02}"), Some((Pass, 0.01 * f64::from(i))))));
        let q = Queue::new(&all, 1);
        assert_eq!(q.flagged.iter().map(|i| all[*i].name.as_str()).collect::<Vec<_>>(), ["high", "low", "a", "b", "new"]);
        assert_eq!((q.sample.len(), q.rest.len()), (SAMPLE, 10));
        let mut every: Vec<usize> = [q.flagged.clone(), q.sample.clone(), q.rest.clone()].concat();
        every.sort_unstable();
        assert_eq!(every, (0..all.len()).collect::<Vec<_>>());
        assert!(q.rest.is_sorted_by(|a, b| a > b), "worst first here as well: {:?}", q.rest);
        assert_eq!(Queue::new(&all, 1), q);
        assert_ne!(Queue::new(&all, 2).sample, q.sample);
        let few = Queue::new(&all[..8], 1);
        assert_eq!((few.sample.len(), few.rest.len(), few.close), (3, 0, 0));
    }

    #[test]
    fn what_passed_by_little_comes_before_the_lot() {
        let score = |i: u32| if i.is_multiple_of(7) { 0.95 + 1e-4 * f64::from(i) } else { 0.001 * f64::from(i) };
        let all: Vec<Picture> = (0..200).map(|i| picture(&format!("p{i:03}"), Some((Verdict::Pass, score(i))))).collect();
        let q = Queue::new(&all, 1);
        assert_eq!((q.close, q.sample.len(), q.rest.len()), (10, 30, 170));
        assert_eq!(q.sample[..3], [196, 189, 182], "the highest scores first");
        assert_eq!(Queue::new(&all, 2).sample[..10], q.sample[..10], "no lot decides about these");
        assert_ne!(Queue::new(&all, 2).sample[10..], q.sample[10..]);
        let mut every: Vec<usize> = [q.sample.clone(), q.rest].concat();
        every.sort_unstable();
        assert_eq!(every, (0..200).collect::<Vec<_>>());
        // A tenth at most.
        assert_eq!(Queue::new(&all[..30], 1).close, 3);
    }
}
