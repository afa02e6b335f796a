//! What every store must do, as tests that know nothing but the trait. A store joins with one
//! line: `conformance::suite!(a function that gives a Place)`.

pub(crate) mod accounts;
pub(crate) mod arbitrary;
mod exporting;
mod loading;
mod reading;
mod retention;
mod sample;
mod writing;

use std::sync::Arc;

use cloudai_model::record::Record;
use tokio::sync::mpsc;

use crate::{Export, Highest, LOAD_CHUNK, Store};

pub(crate) use self::{
    exporting::exported,
    sample::{sample, worker},
};

/// Somewhere a store can be opened, closed, and opened again.
pub(crate) struct Place {
    /// Opens it; what an earlier store left here is found if it is kept.
    pub(crate) open: Box<dyn Fn() -> Arc<dyn Store> + Send + Sync>,
    /// Whether it is kept.
    pub(crate) keeps: bool,
}

impl Place {
    /// A store with nothing in it.
    pub(crate) fn empty(&self) -> Arc<dyn Store> {
        (self.open)()
    }

    /// The store as the next process finds it; `None` where nothing is kept, and that is said.
    async fn restarted(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        store.close().await.unwrap();
        let says_that_it_forgets = store.describe().contains("forgets");
        drop(store);
        assert_eq!(self.keeps, !says_that_it_forgets);
        self.keeps.then(|| (self.open)())
    }
}

/// A store with nothing in it, and what reads all of it beside its master.
type Exported = (Arc<dyn Store>, Arc<dyn Export>);

/// Somewhere stores can be opened and read as a whole.
pub(crate) struct ExportPlace {
    /// Opens a store with nothing in it, another one each time.
    pub(crate) open: Box<dyn Fn() -> Exported + Send + Sync>,
}

/// Commits a batch that must be taken.
pub(crate) async fn commit(store: &dyn Store, batch: impl IntoIterator<Item = Record>) {
    let batch = Arc::new(batch.into_iter().collect());
    store.commit(batch).await.unwrap();
}

/// All that a start gets, checked for the size of its chunks.
pub(crate) async fn loaded(store: &dyn Store) -> (Vec<Record>, Highest) {
    let (sink, mut source) = mpsc::channel::<Vec<Record>>(2);
    let collect = async {
        let mut records = Vec::new();
        while let Some(chunk) = source.recv().await {
            assert!((1..=LOAD_CHUNK).contains(&chunk.len()), "{}", chunk.len());
            records.extend(chunk);
        }
        records
    };
    let (highest, records) = tokio::join!(store.load(sink), collect);
    (records, highest.unwrap())
}

macro_rules! cases {
    ($suite:ident: $($module:ident::$case:ident),+ $(,)?) => {
        $(pub(crate) use self::$module::$case;)+

        /// Every case as a test of its own, over the place that `$place` makes.
        macro_rules! $suite {
            ($place:path) => {
                mod $suite {
                    $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        let (place, _guard) = $place();
                        crate::conformance::$case(&place).await;
                    })+
                }
            };
        }
    };
}

cases!(conformance_suite:
    writing::a_new_store_is_empty,
    writing::what_is_committed_is_read_at_once,
    writing::a_batch_that_fails_in_its_middle_leaves_nothing,
    writing::the_identical_batch_may_be_sent_again,
    writing::a_task_added_again_keeps_the_state_it_has_reached,
    writing::what_is_changed_in_a_spec_stays_changed,
    writing::a_task_added_with_other_content_is_a_conflict,
    writing::two_tasks_of_one_order_are_a_conflict,
    writing::an_order_that_no_database_can_count_is_refused,
    writing::a_task_has_one_result,
    writing::records_of_an_unknown_task_are_refused,
    writing::files_of_a_later_attempt_replace_the_earlier,
    writing::workers_and_stop_orders_come_and_go,
    writing::a_closed_store_says_so,
    reading::every_field_is_read_back,
    reading::text_of_any_script_is_read_back,
    reading::pages_stay_right_while_tasks_are_added,
    reading::pages_by_user_and_status_stay_right_while_tasks_come_and_change,
    reading::tasks_are_found_by_status_user_and_worker,
    reading::tasks_are_counted_by_status,
    reading::files_are_found_by_user,
    reading::a_users_files_are_paged_and_counted,
    reading::submits_are_found_by_user_and_key,
    accounts::users_and_keys_come_change_and_go,
    accounts::a_key_that_comes_behind_the_removal_of_its_user_is_not_kept,
    accounts::ended_tokens_are_kept_until_they_are_forgotten,
    accounts::the_audit_is_read_by_page_and_by_what_is_asked,
    accounts::an_entry_of_the_audit_is_never_changed,
    accounts::the_audit_forgets_what_is_old_in_steps_and_never_its_last_entry,
    accounts::a_batch_that_fails_leaves_accounts_as_they_were,
    accounts::a_batch_of_accounts_may_be_sent_again,
    retention::ended_tasks_are_found_in_the_order_in_which_they_ended,
    retention::what_was_removed_is_kept_and_found,
    retention::a_forgotten_task_leaves_nothing_but_its_numbers,
    retention::an_id_that_was_forgotten_can_be_used_by_a_client_again,
    retention::a_batch_that_forgets_what_it_speaks_of_may_be_sent_again,
    retention::nothing_is_removed_of_a_task_that_is_not_known,
    retention::numbers_of_forgotten_tasks_are_raised_and_never_lowered,
    loading::a_start_gets_what_is_live_in_order_and_in_chunks,
    loading::the_highest_numbers_count_final_tasks_too,
    loading::loading_ends_when_nobody_takes_it,
    loading::a_restart_keeps_everything_or_the_store_says_that_it_forgets,
);

cases!(conformance_of_exports:
    exporting::what_is_exported_makes_an_equal_store,
    exporting::what_was_removed_and_forgotten_goes_with_an_export,
    exporting::what_there_is_is_counted,
    exporting::an_export_is_of_one_instant,
    exporting::an_export_ends_when_nobody_takes_it,
);
pub(crate) use conformance_of_exports as export_suite;
pub(crate) use conformance_suite as suite;
