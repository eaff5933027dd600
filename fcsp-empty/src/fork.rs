//! State that a forked child forgets: none.

use fcsp_hook::backend::Fork;

use crate::vendor::Empty;

impl Fork for Empty {}
