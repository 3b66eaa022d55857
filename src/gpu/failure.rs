//! What becomes of a device that fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Notice, wait};
use crate::error::{Error, Result};

/// Whether a device is still there, and who is told if not.
pub(super) struct Health {
    name: String,
    notice: Option<Notice>,
    /// Why it was lost.
    lost: Arc<Mutex<Option<String>>>,
    failed: AtomicBool,
}

impl Health {
    pub fn new(name: String, notice: Option<Notice>) -> Self {
        Self { name, notice, lost: Arc::default(), failed: AtomicBool::new(false) }
    }

    /// Takes note of what the driver reports by itself; wgpu would panic.
    pub fn watch(&self, device: &wgpu::Device) {
        let note = |lost: &Arc<Mutex<Option<String>>>, what: String| {
            lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
        };
        let lost = Arc::clone(&self.lost);
        device.set_device_lost_callback(move |reason, text| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&lost, format!("was lost: {text}"));
            }
        });
        let lost = Arc::clone(&self.lost);
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| note(&lost, format!("failed: {e}"))));
    }

    /// Whether it failed before and the processor does its work.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Runs `work`; whatever the device reports meanwhile is an error.
    pub fn guard<T>(&self, device: &wgpu::Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory];
        let scopes = scopes.map(|filter| device.push_error_scope(filter));
        let done = work();
        // The last one opened is the first to close.
        let mut reported = scopes.into_iter().rev().filter_map(|scope| wait(scope.pop())).collect::<Vec<_>>().into_iter();
        if let Some(lost) = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(self.error(lost));
        }
        match reported.next() {
            Some(wgpu::Error::OutOfMemory { .. }) => Err(self.error("is out of memory".into())),
            Some(e) => Err(self.error(format!("failed: {e}"))),
            None => done,
        }
    }

    /// An error of this device.
    pub fn error(&self, what: String) -> Error {
        Error::device(&self.name, what, "--grade-device cpu, or fewer pictures at once with --jobs 1")
    }

    /// What comes of an error: `false` and a notice, the first time, if the processor may go on.
    ///
    /// # Errors
    /// The error, if not.
    pub fn give_up(&self, e: Error, processor_can: bool) -> Result<bool> {
        let Some(notice) = self.notice.as_ref().filter(|_| processor_can) else { return Err(e) };
        if !self.failed.swap(true, Ordering::Relaxed) {
            let what = match &e {
                Error::Device { device, what, .. } => format!("{device} {what}"),
                e => e.to_string(),
            };
            notice(&format!("{what}; the processor grades from here on"));
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_only_where_the_processor_may_go_on() {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = Arc::clone(&told);
        let health = Health::new("gpu:0 X".into(), Some(Box::new(move |s| keep.lock().unwrap().push(s.to_owned()))));
        for _ in 0..3 {
            assert!(!health.give_up(health.error("is out of memory".into()), true).unwrap());
        }
        assert!(health.has_failed());
        assert_eq!(*told.lock().unwrap(), ["gpu:0 X is out of memory; the processor grades from here on"]);
        assert!(health.give_up(health.error("was lost".into()), false).is_err());
        let alone = Health::new("gpu:0 X".into(), None);
        let e = alone.give_up(alone.error("was lost: gone".into()), true).unwrap_err();
        assert!(e.to_string().contains("gpu:0 X: was lost: gone") && e.to_string().contains("--grade-device cpu"), "{e}");
    }
}
