//! What a session sent that its client has yet to settle: from delivery numbers back to links and tags
//! (contract/amqp.md 4.2).
//!
//! Only deliveries that stand for something are noted. A tag says what, to whoever sent it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A delivery's tag: sixteen bytes always, because C# makes a GUID of it (contract/amqp.md 4.2).
pub(crate) type Tag = [u8; 16];

/// Deliveries of one link kept for settling. More than the messages a device or the feedback queue can have locked,
/// so what a client that never settles pushes out are tags whose lock ended. Ours.
pub(crate) const UNSETTLED_PER_LINK: usize = 1024;

/// A delivery that stands for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) id: u32,
    pub(crate) handle: u32,
    pub(crate) tag: Tag,
}

/// The unsettled deliveries of one session.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(BTreeMap<u32, (u32, Tag)>);

impl Unsettled {
    pub(crate) fn note(&mut self, delivery: Noted) {
        self.0.insert(delivery.id, (delivery.handle, delivery.tag));
        if self.0.len() > UNSETTLED_PER_LINK {
            self.bound(delivery.handle);
        }
    }

    fn bound(&mut self, handle: u32) {
        let mut of_link = self.0.iter().filter(|(_, (of, _))| *of == handle).map(|(id, _)| *id);
        let oldest = of_link.next();
        if oldest.is_some() && of_link.count() >= UNSETTLED_PER_LINK {
            oldest.map(|id| self.0.remove(&id));
        }
    }

    /// Takes out what a disposition covers. Its range may name any numbers, so only what is here is looked at.
    pub(crate) fn take(&mut self, first: u32, last: u32) -> Vec<Noted> {
        let mut taken = Vec::new();
        let mut take = |range: RangeInclusive<u32>| {
            while let Some((id, (handle, tag))) =
                self.0.range(range.clone()).next().map(|(id, at)| (*id, *at))
            {
                self.0.remove(&id);
                taken.push(Noted { id, handle, tag });
            }
        };
        if first <= last {
            take(first..=last);
        } else {
            // Delivery numbers wrap.
            take(first..=u32::MAX);
            take(0..=last);
        }
        taken
    }

    /// A link is gone, and its deliveries with it.
    pub(crate) fn forget(&mut self, handle: u32) {
        self.0.retain(|_, (of, _)| *of != handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(id: u32, handle: u32) -> Noted {
        Noted { id, handle, tag: [id as u8; 16] }
    }

    fn ids(taken: &[Noted]) -> Vec<u32> {
        taken.iter().map(|delivery| delivery.id).collect()
    }

    #[test]
    fn a_range_takes_what_lies_in_it_once() {
        let mut unsettled = Unsettled::default();
        [1, 2, 5, 9].into_iter().for_each(|id| unsettled.note(noted(id, 0)));
        assert_eq!(unsettled.take(2, 5), [noted(2, 0), noted(5, 0)]);
        assert_eq!(unsettled.take(2, 5), []);
        assert_eq!(ids(&unsettled.take(0, u32::MAX)), [1, 9]);
    }

    #[test]
    fn a_range_may_wrap_around() {
        let mut unsettled = Unsettled::default();
        [0, 3, u32::MAX].into_iter().for_each(|id| unsettled.note(noted(id, 0)));
        assert_eq!(ids(&unsettled.take(u32::MAX, 1)), [u32::MAX, 0]);
    }

    #[test]
    fn a_link_that_goes_takes_its_deliveries_along() {
        let mut unsettled = Unsettled::default();
        unsettled.note(noted(1, 7));
        unsettled.note(noted(2, 8));
        unsettled.forget(7);
        assert_eq!(ids(&unsettled.take(0, 9)), [2]);
    }

    #[test]
    fn who_never_settles_loses_its_own_oldest_and_nobody_elses() {
        let mut unsettled = Unsettled::default();
        unsettled.note(noted(0, 8));
        let count = UNSETTLED_PER_LINK as u32;
        (1..=count + 2).for_each(|id| unsettled.note(noted(id, 7)));
        let left = ids(&unsettled.take(0, u32::MAX));
        assert_eq!((left.len(), &left[..3]), (UNSETTLED_PER_LINK + 1, &[0, 3, 4][..]));
    }
}
