//! The folder in which the process keeps what outlives it even in memory mode: certificates and `endpoints.json`
//! (PRODUCT section 4). Files appear whole or not at all; private ones only for their owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A folder that exists and can be written.
#[derive(Clone, Debug)]
pub struct StateFolder(PathBuf);

/// The folder is ours alone while this lives; the system lets go of it even if the process dies.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "closing the file is what unlocks")] File);

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner (mode 0600).
    Private,
    /// Everybody.
    Public,
}

/// The folder, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the state folder cannot be used: {what} {path}: {error}; choose another with --state-dir DIR", path = path.display())]
pub struct StateFolderError {
    what: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl StateFolder {
    /// Makes the folder where it is missing and tries whether it can be written.
    ///
    /// # Errors
    /// [`StateFolderError`] with the folder, the reason and the way out.
    pub fn open(path: &Path) -> Result<Self, StateFolderError> {
        let failed = |what, error| StateFolderError { what, path: path.to_owned(), error };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| failed("cannot make", error))?;
        let path = path.canonicalize().map_err(|error| failed("cannot open", error))?;
        let folder = Self(path);
        let probe = folder.temporary(".probe");
        create(&probe, Access::Private).map_err(|error| failed("cannot write in", error))?;
        fs::remove_file(&probe).map_err(|error| failed("cannot write in", error))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The text of a file, if there is one.
    ///
    /// # Errors
    /// [`StateFolderError`] when there is one and it cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<String>, StateFolderError> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateFolderError { what: "cannot read", path, error }),
        }
    }

    /// Puts `text` into a file, replacing what was there in one step.
    ///
    /// # Errors
    /// [`StateFolderError`]; the old file is then untouched.
    pub fn write(&self, name: &str, text: &str, access: Access) -> Result<(), StateFolderError> {
        let path = self.0.join(name);
        let temporary = self.temporary(name);
        let write = || {
            let mut file = create(&temporary, access)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| {
            // What is left of it is of no use; that it cannot be removed is no news after the first error.
            let _ = fs::remove_file(&temporary);
            StateFolderError { what: "cannot write", path, error }
        })
    }

    /// Removes a file; one that is not there is fine.
    ///
    /// # Errors
    /// [`StateFolderError`].
    pub fn remove(&self, name: &str) -> Result<(), StateFolderError> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateFolderError { what: "cannot remove", path, error })
            }
            _ => Ok(()),
        }
    }

    /// Keeps other processes that share the folder out until the result is dropped.
    ///
    /// # Errors
    /// [`StateFolderError`].
    pub fn lock(&self) -> Result<FolderLock, StateFolderError> {
        let path = self.0.join(LOCK);
        let file = create(&path, Access::Private).and_then(|file| file.lock().map(|()| file));
        file.map(FolderLock).map_err(|error| StateFolderError { what: "cannot lock", path, error })
    }

    /// Makes the folder that of the one emulator that runs on it, until the result is dropped.
    ///
    /// # Errors
    /// [`StateFolderError`] when another runs on it already.
    pub fn occupy(&self) -> Result<FolderLock, StateFolderError> {
        // Who looks whether the folder is occupied holds it for a moment, and must not be taken for an emulator.
        let _turn = self.lock()?;
        let path = self.0.join(RUNNING);
        let failed = |what, error| StateFolderError { what, path: self.0.clone(), error };
        let file = create(&path, Access::Private).map_err(|error| failed("cannot lock", error))?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock(file)),
            Err(TryLockError::WouldBlock) => {
                Err(failed("another emulator runs on", io::Error::other("stop that one first")))
            }
            Err(TryLockError::Error(error)) => Err(failed("cannot lock", error)),
        }
    }

    /// Whether an emulator runs on the folder; what one left behind that was killed does not count.
    ///
    /// # Errors
    /// [`StateFolderError`].
    pub fn is_occupied(&self) -> Result<bool, StateFolderError> {
        let _turn = self.lock()?;
        let is_held = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        Ok(File::open(self.0.join(RUNNING)).is_ok_and(is_held))
    }

    /// Processes that share the folder do not share this name.
    fn temporary(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.{}.tmp", std::process::id()))
    }
}

fn create(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        match access {
            Access::Private => 0o600,
            Access::Public => 0o644,
        },
    );
    #[cfg(not(unix))]
    let _ = access;
    options.open(path)
}

/// Held for a moment, by whoever makes certificates or looks who runs.
const LOCK: &str = ".lock";
/// Held by the emulator as long as it runs.
const RUNNING: &str = ".running";

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, StateFolder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(&temporary.path().join("a/b")).unwrap();
        (temporary, folder)
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_litter() {
        let (_temporary, folder) = folder();
        folder.write("x", "long old text", Access::Public).unwrap();
        folder.write("x", "new", Access::Public).unwrap();
        assert_eq!(folder.read("x").unwrap().as_deref(), Some("new"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        folder.remove("x").unwrap();
        folder.remove("x").unwrap();
        assert_eq!(folder.read("x").unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_temporary, folder) = folder();
        folder.write("key", "secret", Access::Private).unwrap();
        let mode = fs::metadata(folder.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_has_one_emulator_at_a_time() {
        let (_temporary, folder) = folder();
        assert!(!folder.is_occupied().unwrap());
        let occupied = folder.occupy().unwrap();
        assert!(folder.is_occupied().unwrap());
        let error = folder.occupy().unwrap_err().to_string();
        assert!(error.contains("another emulator") && error.contains("--state-dir"), "{error}");
        drop(occupied);
        assert!(!folder.is_occupied().unwrap());
        folder.occupy().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_says_which_and_the_way_out() {
        let (_temporary, folder) = folder();
        folder.write("file", "", Access::Public).unwrap();
        let error = StateFolder::open(&folder.path().join("file/under")).unwrap_err().to_string();
        assert!(error.contains("file/under") && error.contains("--state-dir"), "{error}");
    }
}
