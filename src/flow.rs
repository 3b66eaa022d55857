//! How stages are joined: one after the other ([`Chain`]) and side by side ([`Fork`]).

use std::collections::VecDeque;
use std::ops::Range;

use crate::band::{Band, Sink, Stage};
use crate::error::Result;

/// Stages one after the other; without any, bands pass as they are.
#[derive(Default)]
pub struct Chain<'a>(Vec<Box<dyn Stage + 'a>>);

impl<'a> Chain<'a> {
    /// No stages yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stage behind the others.
    pub fn then(&mut self, stage: impl Stage + 'a) -> &mut Self {
        self.0.push(Box::new(stage));
        self
    }

    /// Whether bands pass as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn feed(stages: &mut [Box<dyn Stage + '_>], band: Band, next: &mut Sink<'_>) -> Result<()> {
    match stages {
        [] => next(band),
        [first, rest @ ..] => first.push(band, &mut |b| feed(rest, b, next)),
    }
}

fn flush(stages: &mut [Box<dyn Stage + '_>], next: &mut Sink<'_>) -> Result<()> {
    match stages {
        [] => Ok(()),
        [first, rest @ ..] => {
            first.finish(&mut |b| feed(rest, b, next))?;
            flush(rest, next)
        }
    }
}

impl Stage for Chain<'_> {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        feed(&mut self.0, band, next)
    }

    fn finish(&mut self, next: &mut Sink<'_>) -> Result<()> {
        flush(&mut self.0, next)
    }
}

/// Makes one band out of those of all branches (same rows, same width).
type Combine<'a> = Box<dyn Fn(&[Band]) -> Band + Send + 'a>;

/// The same rows through several chains, joined again row by row: colour and alpha, or two networks that are blended.
///
/// Every branch must give rows of the same width, and as many of them.
pub struct Fork<'a> {
    branches: Vec<Branch<'a>>,
    combine: Combine<'a>,
    /// Next row to hand on.
    done: usize,
}

struct Branch<'a> {
    /// Channels of the input that this branch takes.
    takes: Range<usize>,
    chain: Chain<'a>,
    waiting: VecDeque<Band>,
}

impl Branch<'_> {
    /// One past the last row that is there.
    fn end(&self) -> usize {
        self.waiting.back().map_or(0, Band::end)
    }

    /// Takes rows `from..to` out of the queue.
    fn take(&mut self, from: usize, to: usize) -> Band {
        // Mostly a whole band is wanted, which then need not be copied.
        if self.waiting.front().is_some_and(|b| (b.y, b.end()) == (from, to))
            && let Some(whole) = self.waiting.pop_front()
        {
            return whole;
        }
        let (width, channels) = self.waiting.front().map_or((0, 0), |b| (b.width, b.channels));
        let mut out = Band::new(from, width, to - from, channels);
        for band in &self.waiting {
            let (a, b) = (band.y.max(from), band.end().min(to));
            for c in 0..channels {
                for y in a..b {
                    out.row_mut(c, y - from).copy_from_slice(band.row(c, y - band.y));
                }
            }
        }
        while self.waiting.front().is_some_and(|b| b.end() <= to) {
            self.waiting.pop_front();
        }
        out
    }
}

impl<'a> Fork<'a> {
    /// Branches, each with the channels it takes, and how their results become one.
    pub fn new(branches: Vec<(Range<usize>, Chain<'a>)>, combine: impl Fn(&[Band]) -> Band + Send + 'a) -> Self {
        let branches = branches.into_iter().map(|(takes, chain)| Branch { takes, chain, waiting: VecDeque::new() }).collect();
        Self { branches, combine: Box::new(combine), done: 0 }
    }

    /// Hands on every row that all branches have.
    fn join(&mut self, next: &mut Sink<'_>) -> Result<()> {
        loop {
            // Up to the nearest end of a band, so that at least one branch is not copied.
            let all = self.branches.iter().map(Branch::end).min().unwrap_or(0);
            if all <= self.done {
                return Ok(());
            }
            let to = self.branches.iter().filter_map(|b| b.waiting.front()).map(Band::end).min().unwrap_or(all).min(all);
            let from = self.done;
            let parts: Vec<Band> = self.branches.iter_mut().map(|b| b.take(from, to)).collect();
            self.done = to;
            next((self.combine)(&parts))?;
        }
    }
}

impl Stage for Fork<'_> {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        for branch in &mut self.branches {
            let part = if branch.takes == (0..band.channels) { band.clone() } else { planes(&band, branch.takes.clone()) };
            let waiting = &mut branch.waiting;
            branch.chain.push(part, &mut |b| {
                waiting.push_back(b);
                Ok(())
            })?;
        }
        self.join(next)
    }

    fn finish(&mut self, next: &mut Sink<'_>) -> Result<()> {
        for branch in &mut self.branches {
            let waiting = &mut branch.waiting;
            branch.chain.finish(&mut |b| {
                waiting.push_back(b);
                Ok(())
            })?;
        }
        self.join(next)
    }
}

/// Some channels of a band.
pub fn planes(band: &Band, channels: Range<usize>) -> Band {
    let n = band.rows * band.width;
    let data = band.data[channels.start * n..channels.end * n].to_vec();
    Band { y: band.y, width: band.width, rows: band.rows, channels: channels.len(), data }
}

/// All channels of several bands of the same rows, one after the other.
pub fn stack(parts: &[Band]) -> Band {
    let first = &parts[0];
    let data = parts.iter().flat_map(|p| p.data.iter().copied()).collect();
    Band { y: first.y, width: first.width, rows: first.rows, channels: parts.iter().map(|p| p.channels).sum(), data }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a constant and hands on bands of `rows` rows, whatever comes in.
    struct Regroup {
        add: f32,
        rows: usize,
        held: Vec<Band>,
    }

    impl Regroup {
        fn emit(&mut self, all: bool, next: &mut Sink<'_>) -> Result<()> {
            let mut branch = Branch { takes: 0..0, chain: Chain::new(), waiting: self.held.drain(..).collect() };
            let mut at = branch.waiting.front().map_or(0, |b| b.y);
            while at < branch.end() && (all || branch.end() - at >= self.rows) {
                let to = (at + self.rows).min(branch.end());
                let mut band = branch.take(at, to);
                band.data.iter_mut().for_each(|v| *v += self.add);
                next(band)?;
                // `take` leaves a band in the queue whose first rows are gone.
                at = to;
            }
            for band in branch.waiting {
                let from = band.y.max(at);
                self.held.push(band.slice(from, band.end()));
            }
            Ok(())
        }
    }

    impl Stage for Regroup {
        fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
            self.held.push(band);
            self.emit(false, next)
        }

        fn finish(&mut self, next: &mut Sink<'_>) -> Result<()> {
            self.emit(true, next)
        }
    }

    fn picture() -> Band {
        let mut b = Band::new(0, 3, 23, 4);
        b.data.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
        b
    }

    fn run(stage: &mut dyn Stage, step: usize) -> Band {
        let whole = picture();
        let mut out: Vec<Band> = Vec::new();
        let mut sink = |b: Band| {
            assert_eq!(b.y, out.last().map_or(0, Band::end));
            out.push(b);
            Ok(())
        };
        for y in (0..whole.rows).step_by(step) {
            stage.push(whole.slice(y, (y + step).min(whole.rows)), &mut sink).unwrap();
        }
        stage.finish(&mut sink).unwrap();
        let (width, channels) = (out[0].width, out[0].channels);
        let mut all = Branch { takes: 0..0, chain: Chain::new(), waiting: out.into() };
        let end = all.end();
        assert_eq!((width, channels, end), (3, 4, 23));
        all.take(0, end)
    }

    #[test]
    fn forks_join_the_same_rows_whatever_the_branches_hold_back() {
        for step in [1, 4, 7, 23] {
            for (a, b) in [(1, 1), (5, 2), (3, 23)] {
                let mut colour = Chain::new();
                colour.then(Regroup { add: 1.0, rows: a, held: vec![] }).then(Regroup { add: 1.0, rows: 3, held: vec![] });
                let mut alpha = Chain::new();
                alpha.then(Regroup { add: 7.0, rows: b, held: vec![] });
                let out = run(&mut Fork::new(vec![(0..3, colour), (3..4, alpha)], stack), step);
                let from = picture();
                for c in 0..4 {
                    let add = if c < 3 { 2.0 } else { 7.0 };
                    assert!(out.plane(c).iter().zip(from.plane(c)).all(|(o, i)| *o == i + add), "{step} {a} {b} {c}");
                }
            }
        }
    }

    #[test]
    fn an_empty_chain_hands_bands_on() {
        assert_eq!(run(&mut Chain::new(), 5), picture());
    }
}
