//! Runs every entry of a fuzz target's corpus once. The heads' unit tests include this file, so that an input that
//! once broke something is tried on every push and not only when somebody fuzzes.

use std::path::Path;

/// Hands each file of `tests/fuzz/corpus/{target}` to `run`, which panics if a law is broken.
pub(crate) fn replay(target: &str, run: fn(&[u8])) {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|folder| folder.join("tests/fuzz").is_dir());
    let folder = root.expect("the package lies in the repository").join("tests/fuzz/corpus").join(target);
    let mut entries = 0;
    for entry in std::fs::read_dir(&folder).expect("the target has a corpus") {
        let path = entry.expect("the corpus is readable").path();
        // Shown if the test fails: the last one named is the one that broke it.
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("an entry is a file"));
        entries += 1;
    }
    assert!(entries > 0, "{} is empty", folder.display());
}
