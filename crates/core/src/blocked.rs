//! Classes that nothing has room for, until something changes.
//!
//! Without it every submit into a full cluster would look at every worker again.

use std::{collections::BTreeMap, sync::Arc};

use crate::{class::TaskClass, explain::Explanation};

#[derive(Debug, Default)]
pub(crate) struct Blocked {
    /// The explanation is made when somebody first asks for it.
    classes: BTreeMap<Arc<TaskClass>, Option<Explanation>>,
    /// Of classes that are not blocked but wait all the same; good until something is placed.
    others: BTreeMap<Arc<TaskClass>, Explanation>,
}

impl Blocked {
    /// Room or workers have changed: every class is worth a look again.
    pub(crate) fn clear(&mut self) {
        self.classes.clear();
        self.others.clear();
    }

    /// There is less room than before.
    pub(crate) fn placed(&mut self) {
        self.others.clear();
    }

    pub(crate) fn insert(&mut self, class: Arc<TaskClass>) {
        self.classes.entry(class).or_default();
    }

    pub(crate) fn contains(&self, class: &TaskClass) -> bool {
        self.classes.contains_key(class)
    }

    /// What workers say to the class; `explain` is asked once.
    pub(crate) fn explanation(
        &mut self,
        class: &Arc<TaskClass>,
        explain: impl FnOnce() -> Explanation,
    ) -> Explanation {
        match self.classes.get_mut(class) {
            Some(known) => known.get_or_insert_with(explain).clone(),
            None => {
                let known = self.others.entry(class.clone());
                known.or_insert_with(explain).clone()
            }
        }
    }
}
