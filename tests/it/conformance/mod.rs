//! Every way of linking through every case: a way is done when it passes them all.
//!
//! What a way cannot do is declared in its row of the table ([`crate::world::Way`]), and each case compares the row with what
//! the API says of itself: nothing is left out in silence.

pub mod counts;
mod faults;
mod limits;
mod straight;

use crate::world::Way;

/// A module with a test for each way.
macro_rules! each_way {
    ($($(#[$doc:meta])* $name:ident: $case:path;)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            macro_rules! way {
                ($test:ident, $way:ident) => {
                    #[tokio::test]
                    async fn $test() {
                        $case(&Way::$way).await;
                    }
                };
            }
            way!(github, GITHUB);
            way!(github_app, GITHUB_APP);
            way!(installation, INSTALLATION);
            way!(gitlab, GITLAB);
            way!(bitbucket, BITBUCKET);
            way!(bitbucket_access_token, BITBUCKET_ACCESS_TOKEN);
            way!(azure_by_hand, AZURE_BY_HAND);
            way!(azure_by_api, AZURE_BY_API);
            way!(azure_standing, AZURE_STANDING);
            way!(gitea, GITEA);
            way!(manual, MANUAL);
            way!(public, PUBLIC);
        }
    )*};
}

each_way! {
    goes_live_as_planned_is_rebuilt_and_taken_back: straight::goes_live_as_planned_is_rebuilt_and_taken_back;
    a_pull_request_is_previewed: straight::a_pull_request_is_previewed;
    the_same_request_again_changes_nothing: straight::the_same_request_again_changes_nothing;
    what_somebody_removed_before_is_already_gone: straight::what_somebody_removed_before_is_already_gone;
    a_repository_that_moves_is_linked_and_taken_back: straight::a_repository_that_moves_is_linked_and_taken_back;
    lost_answers_make_nothing_twice: faults::lost_answers_make_nothing_twice;
    answers_that_never_come_are_not_waited_for: faults::answers_that_never_come_are_not_waited_for;
    resets_and_errors_that_pass_are_outlived: faults::resets_and_errors_that_pass_are_outlived;
    a_refusal_is_named_and_leaves_nothing: faults::a_refusal_is_named_and_leaves_nothing;
    a_rate_limit_is_waited_for: faults::a_rate_limit_is_waited_for;
    armed_within_its_calls_and_rounds: limits::armed_within_its_calls_and_rounds;
}
