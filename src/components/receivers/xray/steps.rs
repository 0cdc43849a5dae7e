//! The steps of a pull by name, so that a test can end the receiver behind each of them, as a kill would.

/// What is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A window's traces are known.
    Listed,
    /// Some traces have been fetched.
    Fetched,
    /// A batch has been taken by the pipeline.
    Taken,
    /// All of a pass has been taken; it is written next.
    Unwritten,
    /// Traces and cursor are on the disk.
    Written,
    /// The cursor in memory has moved.
    Moved,
}

/// In the agent nothing; in a test the step behind which nothing comes any more.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    #[cfg(test)]
    pub plan: std::sync::Arc<Plan>,
}

impl Steps {
    /// A step is over.
    pub async fn over(&self, step: Step) {
        #[cfg(test)]
        if self.plan.ends_at(step) {
            self.plan.ended.notify_one();
            std::future::pending::<()>().await;
        }
        #[cfg(not(test))]
        let _ = step;
    }
}

/// Where the receiver ends.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct Plan {
    /// The step, and how often it is passed before.
    pub at: std::sync::Mutex<Option<(Step, u32)>>,
    pub ended: tokio::sync::Notify,
}

#[cfg(test)]
impl Plan {
    fn ends_at(&self, step: Step) -> bool {
        let mut at = self.at.lock().unwrap();
        match &mut *at {
            Some((planned, 0)) if *planned == step => {
                *at = None;
                true
            }
            Some((planned, before)) if *planned == step => {
                *before -= 1;
                false
            }
            _ => false,
        }
    }
}
