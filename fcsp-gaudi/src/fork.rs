//! State that a forked child forgets: the card that its parent has.

use fcsp_hook::backend::Fork;

use crate::vendor::{Gaudi, set_acquired};

impl Fork for Gaudi {
    fn forget_in_child() {
        set_acquired(None);
    }
}
