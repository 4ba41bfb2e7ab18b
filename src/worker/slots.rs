//! Slots: how many links a process works on at once, and how many of them may be one tenant's.
//!
//! A tenant gets at most half of the slots, so another one's link finds a free slot however many
//! links the first one has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Tenants whose share is remembered before idle ones are forgotten.
const MOST_TENANTS: usize = 1024;

/// The slots of a process.
#[derive(Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    of_tenants: Mutex<HashMap<String, Arc<Semaphore>>>,
    most_of_one: usize,
    freed: Arc<Notify>,
}

/// The right to work on one link; a free slot again when dropped.
#[derive(Debug)]
pub struct Slot {
    permits: Option<[OwnedSemaphorePermit; 2]>,
    freed: Arc<Notify>,
}

impl Slots {
    /// So many slots; `freed` is told when one becomes free.
    pub fn new(count: usize, freed: Arc<Notify>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(count)),
            of_tenants: Mutex::default(),
            most_of_one: count.div_ceil(2),
            freed,
        }
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.all.available_permits()
    }

    /// How many more a tenant may have.
    pub fn room(&self, tenant: &str) -> usize {
        let known = self.lock().get(tenant).cloned();
        known.map_or(self.most_of_one, |share| share.available_permits())
    }

    /// A slot, if there is one for this tenant now.
    pub fn try_take(&self, tenant: &str) -> Option<Slot> {
        let of_tenant = self.share(tenant).try_acquire_owned().ok()?;
        let of_all = self.all.clone().try_acquire_owned().ok()?;
        Some(self.slot(of_tenant, of_all))
    }

    /// A slot, as soon as there is one for this tenant; nothing when the semaphores were closed, which nobody does.
    pub async fn take(&self, tenant: &str) -> Option<Slot> {
        let of_tenant = self.share(tenant).acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(self.slot(of_tenant, of_all))
    }

    fn slot(&self, of_tenant: OwnedSemaphorePermit, of_all: OwnedSemaphorePermit) -> Slot {
        Slot {
            permits: Some([of_tenant, of_all]),
            freed: self.freed.clone(),
        }
    }

    fn share(&self, tenant: &str) -> Arc<Semaphore> {
        let mut shares = self.lock();
        if shares.len() >= MOST_TENANTS {
            // Whoever works or waits holds one too.
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let new = || Arc::new(Semaphore::new(self.most_of_one));
        shares.entry(tenant.to_owned()).or_insert_with(new).clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.of_tenants
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Given back before somebody is told to look for them.
        self.permits = None;
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tenant_takes_half_and_leaves_the_rest_to_others() {
        let freed = Arc::new(Notify::new());
        let slots = Slots::new(5, freed.clone());
        let taken: Vec<_> = (0..4).filter_map(|_| slots.try_take("a")).collect();
        assert_eq!((taken.len(), slots.room("a"), slots.free()), (3, 0, 2));
        assert_eq!(slots.room("b"), 3);
        let others: Vec<_> = (0..4).filter_map(|_| slots.try_take("b")).collect();
        assert_eq!((others.len(), slots.free()), (2, 0));
        drop(taken);
        freed.notified().await;
        assert_eq!((slots.free(), slots.room("a"), slots.room("b")), (3, 3, 1));
    }

    #[test]
    fn a_single_slot_serves_everybody_in_turn() {
        let slots = Slots::new(1, Arc::new(Notify::new()));
        let only = slots.try_take("a");
        assert!(only.is_some() && slots.try_take("b").is_none());
        drop(only);
        assert!(slots.try_take("b").is_some());
    }
}
