//! Files keep what every store has to.

use std::sync::mpsc::sync_channel;

use super::*;
use crate::effect::lease::contract::{Agent, Place, keeps_the_contract};

impl Place for tempfile::TempDir {
    fn open(&self) -> Agent {
        let (sender, told) = sync_channel(4096);
        let store = FileLeases::open(self.path(), StoreEvents(sender));
        Agent {
            store: Box::new(store.expect("it opens")),
            told,
            aside: std::cell::RefCell::default(),
            under: Box::new(()),
        }
    }
}

keeps_the_contract!(tempfile::tempdir_in("/dev/shm").expect("a directory"));
