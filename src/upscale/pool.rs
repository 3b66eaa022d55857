//! The workers: one thread per core (or per device stream), each with its own session of every network in use.
//!
//! Tiles of all pictures go through one queue, so a single picture keeps every core busy and small pictures overlap.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, ThreadId};

use super::network::Network;
use super::{Infer, Stopper};
use crate::band::Band;
use crate::error::{Error, Result};

/// A finished tile: its number and what came out.
pub type Reply = (usize, Result<Band>);

/// One tile to enlarge.
pub struct Task {
    pub network: Arc<Network>,
    pub index: usize,
    pub tile: Band,
    pub cancel: Arc<Cancel>,
    pub reply: mpsc::Sender<Reply>,
}

/// Says that nobody waits for tiles any more: those that wait are dropped unrun, and those that run are ended, where that can be done.
/// A tile of a large network takes many seconds on a processor.
#[derive(Default)]
pub struct Cancel {
    set: AtomicBool,
    /// What ends the tiles that run, by the worker's thread.
    running: Mutex<Vec<(ThreadId, Stopper)>>,
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel").field("set", &self.is_set()).finish_non_exhaustive()
    }
}

impl Cancel {
    /// Ends all that is under way.
    pub fn cancel(&self) {
        self.set.store(true, Ordering::SeqCst);
        self.running().iter().for_each(|(_, stop)| stop());
    }

    /// Whether nobody waits any more.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<(ThreadId, Stopper)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on this thread that `stop` ends; not at all if it is cancelled already.
    fn during<T>(&self, stop: Option<Stopper>, run: impl FnOnce() -> T) -> Option<T> {
        let own = std::thread::current().id();
        let _done = stop.map(|stop| {
            self.running().push((own, stop));
            Leave(self, own)
        });
        // Whoever cancels from here on finds what ends it.
        (!self.is_set()).then(run)
    }
}

/// Takes a thread off the list, whatever happened in between.
struct Leave<'a>(&'a Cancel, ThreadId);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.running().retain(|(thread, _)| *thread != self.1);
    }
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

/// A fixed number of workers behind one queue. Dropping it waits for tiles in progress and discards the rest.
pub struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("workers", &self.threads.len()).finish()
    }
}

impl Pool {
    /// Starts `workers` threads (at least one).
    pub fn new(workers: usize) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let start = |i: usize| {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("tile-{i}")).spawn(move || work(&queue))
        };
        let threads = (0..workers.max(1)).map(start).collect::<std::io::Result<Vec<_>>>();
        let threads = threads.map_err(|e| Error::limit("workers", e, "fewer threads: raise `ulimit -u`"))?;
        Ok(Self { queue, threads })
    }

    /// How many tiles can run at once.
    pub fn workers(&self) -> usize {
        self.threads.len()
    }

    /// Queues a tile; the answer comes on its channel.
    pub fn submit(&self, task: Task) {
        lock(&self.queue).tasks.push_back(task);
        self.queue.ready.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.queue);
            state.closed = true;
            state.tasks.clear();
        }
        self.queue.ready.notify_all();
        for t in self.threads.drain(..) {
            let _ = t.join();
        }
    }
}

fn lock(queue: &Queue) -> std::sync::MutexGuard<'_, State> {
    // No code can panic while it holds the lock; a poisoned queue is as good as a clean one.
    queue.state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(queue: &Queue) {
    // Sessions are keyed by the network's address; holding the Arc keeps the address its own.
    let mut sessions: Vec<(Arc<Network>, Box<dyn Infer>)> = Vec::new();
    loop {
        let task = {
            let mut state = lock(queue);
            loop {
                if let Some(task) = state.tasks.pop_front() {
                    break task;
                }
                if state.closed {
                    return;
                }
                state = queue.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        if task.cancel.is_set() {
            continue;
        }
        let done = match catch_unwind(AssertUnwindSafe(|| run(&mut sessions, &task))) {
            Ok(Some(done)) => Ok(done),
            Ok(None) => continue,
            Err(e) => Err(e),
        };
        let done = done.unwrap_or_else(|_| {
            // A session that panicked half-way is not trusted again.
            sessions.retain(|(n, _)| !Arc::ptr_eq(n, &task.network));
            Err(Error::Internal(format!("the worker for model {} panicked", task.network.spec.id)))
        });
        // Nobody listening means the job has ended meanwhile.
        let _ = task.reply.send((task.index, done));
    }
}

/// None if the tile was cancelled before it began.
fn run(sessions: &mut Vec<(Arc<Network>, Box<dyn Infer>)>, task: &Task) -> Option<Result<Band>> {
    let at = match sessions.iter().position(|(n, _)| Arc::ptr_eq(n, &task.network)) {
        Some(at) => at,
        None => {
            match task.network.open(false) {
                Ok(session) => sessions.push((Arc::clone(&task.network), session)),
                Err(e) => return Some(Err(e)),
            }
            sessions.len() - 1
        }
    };
    let session = &mut sessions[at].1;
    task.cancel.during(session.stoppable(), || task.network.run(session, &task.tile))
}

#[cfg(test)]
mod tests {
    use super::super::InferError;
    use super::super::network::Open;
    use super::super::network::tests::{Fake, network, picture};
    use super::super::tile::Rule;
    use super::*;

    /// Runs until it is ended.
    struct Endless {
        begun: mpsc::Sender<()>,
        ended: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Infer for Endless {
        fn run(&mut self, _: &Band) -> Result<Band, InferError> {
            self.begun.send(()).unwrap();
            let mut ended = self.ended.0.lock().unwrap();
            while !*ended {
                ended = self.ended.1.wait(ended).unwrap();
            }
            Err(InferError::Failed("ended".into()))
        }

        fn stoppable(&mut self) -> Option<Stopper> {
            let ended = Arc::clone(&self.ended);
            Some(Arc::new(move || {
                *ended.0.lock().unwrap() = true;
                ended.1.notify_all();
            }))
        }
    }

    struct Opens(Mutex<mpsc::Sender<()>>);

    impl Open for Opens {
        fn open(&self, _: bool) -> Result<Box<dyn Infer>> {
            Ok(Box::new(Endless { begun: self.0.lock().unwrap().clone(), ended: Arc::default() }))
        }

        fn has_safe(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_tile_that_nobody_waits_for_is_ended_and_the_next_ones_are_not_begun() {
        let (begun, begins) = mpsc::channel();
        let spec = network(Fake { scale: 2, ..Fake::default() }, Rule::default()).spec.clone();
        let network = Arc::new(Network::new(spec, Box::new(Opens(Mutex::new(begun)))));
        let pool = Pool::new(1).unwrap();
        let cancel = Arc::new(Cancel::default());
        let (reply, replies) = mpsc::channel();
        for index in 0..3 {
            let (network, cancel, reply) = (Arc::clone(&network), Arc::clone(&cancel), reply.clone());
            pool.submit(Task { network, index, tile: picture(8, 8, 3), cancel, reply });
        }
        drop(reply);
        begins.recv().unwrap();
        cancel.cancel();
        // Without that the worker would never come back.
        drop(pool);
        let told: Vec<usize> = replies.iter().map(|(index, tile)| tile.map_or(index, |_| 99)).collect();
        assert_eq!(told, [0]);
        assert!(cancel.running().is_empty() && begins.try_recv().is_err());
    }
}
