//! The workers: one thread per core (or per device stream), each with its own session of every network in use.
//!
//! Tiles of all pictures go through one queue, so a single picture keeps every core busy and small pictures overlap.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use super::Infer;
use super::network::Network;
use crate::band::Band;
use crate::error::{Error, Result};

/// A finished tile: its number and what came out.
pub type Reply = (usize, Result<Band>);

/// One tile to enlarge.
pub struct Task {
    pub network: Arc<Network>,
    pub index: usize,
    pub tile: Band,
    /// Set when nobody waits any more: the tile is dropped unrun.
    pub cancelled: Arc<AtomicBool>,
    pub reply: mpsc::Sender<Reply>,
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
        if task.cancelled.load(Ordering::Relaxed) {
            continue;
        }
        let done = catch_unwind(AssertUnwindSafe(|| run(&mut sessions, &task)));
        let done = done.unwrap_or_else(|_| {
            // A session that panicked half-way is not trusted again.
            sessions.retain(|(n, _)| !Arc::ptr_eq(n, &task.network));
            Err(Error::Internal(format!("the worker for model {} panicked", task.network.spec.id)))
        });
        // Nobody listening means the job has ended meanwhile.
        let _ = task.reply.send((task.index, done));
    }
}

fn run(sessions: &mut Vec<(Arc<Network>, Box<dyn Infer>)>, task: &Task) -> Result<Band> {
    let at = match sessions.iter().position(|(n, _)| Arc::ptr_eq(n, &task.network)) {
        Some(at) => at,
        None => {
            sessions.push((Arc::clone(&task.network), task.network.open(false)?));
            sessions.len() - 1
        }
    };
    task.network.run(&mut sessions[at].1, &task.tile)
}
