//! No test waits for ever, and no task of the emulator panics unseen.

use std::cell::Cell;
use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use net::Io;
use tokio::io::AsyncReadExt as _;

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must happen.
pub(crate) async fn in_time<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, happens).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("{what}: nothing of the kind within {} s", PATIENCE.as_secs()),
    }
}

/// Reads until the other side is gone, by a clean end or a reset, and returns what it said.
pub(crate) async fn read_to_the_end(io: &mut Io) -> Vec<u8> {
    let mut said = Vec::new();
    // An error is an end as well; what was read before it is kept.
    let _ = in_time("the connection's end", io.read_to_end(&mut said)).await;
    said
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Counts from now on the panics on this thread, where the emulator of a test has its tasks.
pub(crate) fn watch_for_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            report(panic);
        }));
    });
    PANICS.set(0);
}

/// No task of this test's emulator has panicked.
#[track_caller]
pub(crate) fn nothing_panicked() {
    assert_eq!(PANICS.get(), 0, "a task of the emulator panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_task_that_nobody_waits_for_is_noticed() {
        watch_for_panics();
        nothing_panicked();
        let panicking = tokio::spawn(async { panic!("on purpose") });
        assert!(panicking.await.is_err());
        assert!(std::panic::catch_unwind(nothing_panicked).is_err());
        PANICS.set(0);
    }
}
