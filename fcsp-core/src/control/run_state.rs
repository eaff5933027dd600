//! The run state of a tenant: whether its work runs, who has paused it, and how far a stop has got.
//!
//! Several parties pause a tenant independently of one another: its user, and the node agent. Work
//! runs when no party pauses it. A party resumes only what it has paused itself.
//!
//! The state is one word. 0 means running, and builds before it stored 1 for a pause. They read any
//! other word as a pause, and their `fcsp resume` ends the pauses of all parties.

/// Party that may pause a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Pauser {
    /// The tenant's user, by `fcsp pause`.
    User = 1,
    /// The node agent.
    Agent = 2,
}

impl Pauser {
    /// All parties.
    pub const ALL: [Self; 2] = [Self::User, Self::Agent];

    /// Returns its name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
        }
    }
}

/// Progress of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Stage {
    /// Work runs.
    #[default]
    Running,
    /// New work waits at the gates. Work that was submitted before runs to its end.
    Paused,
    /// The same, and a party waits for that end.
    Draining,
    /// That party has seen every process stand still.
    Quiesced,
    /// The driver has moved the tenant's memory off the device. Requests for memory are refused.
    Checkpointed,
}

impl Stage {
    /// All stages, at their codes.
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Paused,
        Self::Draining,
        Self::Quiesced,
        Self::Checkpointed,
    ];

    /// Returns its name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Quiesced => "quiesced",
            Self::Checkpointed => "checkpointed",
        }
    }
}

/// Run state of a tenant.
///
/// ```
/// use fcsp_core::control::{Pauser, RunState, Stage};
///
/// let state = RunState::default().paused_by(Pauser::Agent);
/// let state = state.paused_by(Pauser::User).resumed_by(Pauser::User);
/// assert_eq!(state.stage(), Stage::Paused); // by the agent
/// assert_eq!(state.resumed_by(Pauser::Agent), RunState::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunState {
    /// Parties that pause the tenant: the sum of their numbers. Unknown bits belong to parties of
    /// newer builds and are kept.
    pausers: u8,
    /// Progress of the stop; `Running` if and only if no party pauses the tenant.
    stage: Stage,
}

impl RunState {
    /// Returns the state of a tenant that its user has paused, or that runs.
    pub fn user(paused: bool) -> Self {
        match paused {
            true => Self::default().paused_by(Pauser::User),
            false => Self::default(),
        }
    }

    /// Returns true if work waits.
    pub fn is_paused(self) -> bool {
        self.pausers != 0
    }

    /// Returns true if `party` pauses the tenant.
    pub fn is_paused_by(self, party: Pauser) -> bool {
        self.pausers & party as u8 != 0
    }

    /// Returns the parties that pause the tenant, as far as this build knows them.
    pub fn pausers(self) -> impl Iterator<Item = Pauser> {
        Pauser::ALL
            .into_iter()
            .filter(move |&party| self.is_paused_by(party))
    }

    /// Returns the progress of the stop.
    pub fn stage(self) -> Stage {
        self.stage
    }

    /// Returns true if requests for memory must be refused.
    pub fn refuses_memory(self) -> bool {
        self.stage == Stage::Checkpointed
    }

    /// Returns the state after `party` has paused the tenant.
    #[must_use]
    pub fn paused_by(self, party: Pauser) -> Self {
        Self {
            pausers: self.pausers | party as u8,
            stage: self.stage.max(Stage::Paused),
        }
    }

    /// Returns the state after `party` has ended its own pause. The tenant stays paused while
    /// another party pauses it. The agent's pause takes the agent's stage with it.
    #[must_use]
    pub fn resumed_by(self, party: Pauser) -> Self {
        let pausers = self.pausers & !(party as u8);
        let stage = match (pausers, party) {
            (0, _) => Stage::Running,
            (_, Pauser::Agent) => self.stage.min(Stage::Paused),
            _ => self.stage,
        };
        Self { pausers, stage }
    }

    /// Returns the state with the stop at `stage`. Returns `None` if the agent does not pause the
    /// tenant, since only the agent conducts a stop beyond a pause, and for `Running`.
    #[must_use]
    pub fn at_stage(self, stage: Stage) -> Option<Self> {
        let allowed = match stage {
            Stage::Running => false,
            Stage::Paused => self.is_paused(),
            _ => self.is_paused_by(Pauser::Agent),
        };
        allowed.then_some(Self { stage, ..self })
    }

    /// Returns the state of work that belongs to two tenants: it runs if both do.
    #[must_use]
    pub fn within(self, outer: Self) -> Self {
        Self {
            pausers: self.pausers | outer.pausers,
            stage: self.stage.max(outer.stage),
        }
    }

    /// Returns the word of a control page: the parties in bits 0 to 7, the stage in bits 8 to 15 if
    /// it is more than a pause.
    pub(super) fn to_word(self) -> u64 {
        let stage = match self.stage {
            Stage::Running | Stage::Paused => 0,
            stage => stage as u64,
        };
        u64::from(self.pausers) | stage << 8
    }

    /// Reads the word of a control page. Any word but 0 is a pause. Without a party it is the
    /// user's, whose `fcsp resume` ends it.
    pub(super) fn from_word(word: u64) -> Self {
        let [pausers, code, ..] = word.to_le_bytes();
        match (word, pausers) {
            (0, _) => Self::default(),
            (_, 0) => Self::user(true),
            _ => Self {
                pausers,
                stage: Stage::ALL
                    .get(usize::from(code))
                    .copied()
                    .unwrap_or_default()
                    .max(Stage::Paused),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn party() -> impl Strategy<Value = Pauser> {
        prop_oneof![Just(Pauser::User), Just(Pauser::Agent)]
    }

    /// Makes one change of a state: a pause, a resume, or a stage.
    fn change() -> impl Strategy<Value = (u8, Pauser, usize)> {
        (0u8..3, party(), 0usize..Stage::ALL.len())
    }

    fn apply(state: RunState, (kind, party, stage): (u8, Pauser, usize)) -> RunState {
        match kind {
            0 => state.paused_by(party),
            1 => state.resumed_by(party),
            _ => state.at_stage(Stage::ALL[stage]).unwrap_or(state),
        }
    }

    proptest! {
        #[test]
        fn any_word_is_a_pause_but_zero(word: u64) {
            let state = RunState::from_word(word);
            prop_assert_eq!(state.is_paused(), word != 0);
            prop_assert_eq!(state.stage() == Stage::Running, word == 0);
            prop_assert_eq!(RunState::from_word(state.to_word()), state);
        }

        /// Checks that no order of changes lets one party end the pause of another.
        #[test]
        fn a_party_ends_its_own_pause_alone(changes in prop::collection::vec(change(), 0..12)) {
            let mut state = RunState::default();
            let mut pausing = [false; 2];
            for change in changes {
                let (kind, party, _) = change;
                state = apply(state, change);
                let own = Pauser::ALL.iter().position(|&known| known == party).unwrap();
                match kind {
                    0 => pausing[own] = true,
                    1 => pausing[own] = false,
                    _ => {}
                }
                let by: Vec<bool> =
                    Pauser::ALL.iter().map(|&party| state.is_paused_by(party)).collect();
                prop_assert_eq!(&by[..], pausing);
                prop_assert_eq!(state.stage() == Stage::Running, pausing == [false; 2]);
                // A stop beyond a pause is the agent's.
                prop_assert!(state.stage() <= Stage::Paused || state.is_paused_by(Pauser::Agent));
                prop_assert_eq!(RunState::from_word(state.to_word()), state);
            }
        }
    }

    #[test]
    fn a_pause_of_before_is_the_users() {
        let state = RunState::from_word(1);
        assert_eq!(state, RunState::user(true));
        assert_eq!(state.to_word(), 1);
        assert_eq!(state.resumed_by(Pauser::User), RunState::default());
    }

    #[test]
    fn a_part_is_paused_with_the_tenant_around_it() {
        let paused = RunState::user(true);
        let checkpointed = RunState::default()
            .paused_by(Pauser::Agent)
            .at_stage(Stage::Checkpointed)
            .unwrap();
        assert_eq!(RunState::default().within(paused), paused);
        let both = paused.within(checkpointed);
        assert!(both.refuses_memory() && both.is_paused_by(Pauser::User));
        assert_eq!(paused.at_stage(Stage::Quiesced), None);
    }
}
