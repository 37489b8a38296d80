//! How far a program has come in each partition, kept in a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::event::Event;
use super::position::StartPosition;
use crate::error::Error;

/// The last event done with of each partition, for one program and one consumer group.
///
/// Each call to [`FileCheckpoints::save`] replaces the file as a whole, so that a crash leaves the old state or the
/// new one. Programs on several machines need a store they share; the sequence number of an event is all it has to
/// keep.
#[derive(Debug)]
pub struct FileCheckpoints {
    path: PathBuf,
    sequence_numbers: BTreeMap<String, i64>,
}

impl FileCheckpoints {
    /// Reads the file; where there is none, nothing has been done with yet.
    ///
    /// # Errors
    /// `InvalidConfiguration` when it cannot be read or is not such a file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let sequence_numbers = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                Error::configuration(format!("{} holds no checkpoints", path.display())).with_source(error)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(
                    Error::configuration(format!("cannot read {}", path.display())).with_source(error)
                );
            }
        };
        Ok(Self { path, sequence_numbers })
    }

    /// Where to go on in a partition; none when nothing of it has been done with.
    #[must_use]
    pub fn start(&self, partition: &str) -> Option<StartPosition> {
        self.sequence_numbers.get(partition).copied().map(StartPosition::after)
    }

    /// Notes that this event and those before it in its partition are done with.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the file cannot be written; what was noted before stands then.
    pub fn save(&mut self, event: &Event) -> Result<(), Error> {
        self.sequence_numbers.insert(event.partition.clone(), event.sequence_number);
        let text = serde_json::to_vec(&self.sequence_numbers).expect("a map of numbers is JSON");
        let written = self.path.with_extension("new");
        std::fs::write(&written, text).and_then(|()| std::fs::rename(&written, &self.path)).map_err(|error| {
            Error::configuration(format!("cannot write {}", self.path.display())).with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;

    fn event(partition: &str, sequence_number: i64) -> Event {
        Event {
            partition: partition.to_owned(),
            sequence_number,
            offset: String::new(),
            enqueued_at: UNIX_EPOCH,
            body: Bytes::new(),
            message_id: None,
            correlation_id: None,
            content_type: None,
            content_encoding: None,
            properties: Vec::new(),
            annotations: Vec::new(),
        }
    }

    #[test]
    fn what_was_saved_last_is_where_the_next_program_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.json");
        let mut checkpoints = FileCheckpoints::open(&path).unwrap();
        assert_eq!(checkpoints.start("0"), None);
        for (partition, number) in [("0", 1), ("1", 7), ("0", 2)] {
            checkpoints.save(&event(partition, number)).unwrap();
        }
        let again = FileCheckpoints::open(&path).unwrap();
        assert_eq!(again.start("0"), Some(StartPosition::after(2)));
        assert_eq!(again.start("1"), Some(StartPosition::after(7)));
        assert_eq!(again.start("2"), None);
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "dear diary").unwrap();
        assert!(FileCheckpoints::open(&path).unwrap_err().to_string().contains("no checkpoints"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary");
    }
}
