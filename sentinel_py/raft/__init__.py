"""A Raft cluster of sentinels: one log of decisions, on the sentinel's own port and loop.

`engine.Engine` is the way in. Below it, each module with its own head: `election` (when to stand;
the lease), `replication` (entries, snapshots and their answers), `joining` (a member learns before
it votes), `proposals` (outcomes), `membership` (who votes), `journal` on a `disk`, `codec` (the
wire), and PySyncObj behind `guarded` and `adapters`. The rest of the package brings engines
together: `stream` and what lies around it carry messages, `member` and `driver` run an engine.

The rule guarded by all of them: what a member has acknowledged it never loses.

Duties of the owner of an engine
--------------------------------

1. One engine per journal, and one journal per id. Who has lost his disk comes back under a new id.
2. `step` soon after anything was handed in, and after `next_tick_ms` at the latest; all calls from
   one thread, and none from within `StateMachine` or the transport, but for `receive`.
3. Messages of a peer come authenticated, in order, and none of an old link after one of a new one.
4. `StateMachine` is deterministic and does not raise. A command may be applied though its outcome
   was unknown: an id within the command, or a comparison with the state, makes it safe to repeat.
5. Act as the leader only while the status has the lease, and let what follows from a decision
   carry its index or epoch: a process can stop between looking and acting.
6. A member that was removed is not told so by the log. Tell it, or take it away.

Guards
------

PySyncObj 0.3.17 elects, replicates and commits. Without these around it, it loses acknowledged
commands, or stops for good. Each line names the test that fails when the guard is taken away.

================================================  =================================================
Guard                                             Test (in ``tests/raft/test_guards.py``)
================================================  =================================================
A snapshot on its way commits nothing             nothing_is_committed_because_a_snapshot_arrives
Journal with checksums, syncs, one frame a write  test_journal: power_fails_at_any_write
Snapshot and log change in one rename             test_journal: power_fails_at_any_write
Damage is told from a torn tail, and refused      test_journal: every_flipped_bit_is_found
Members follow from the log, applied or not       members_are_known_before_they_are_applied
A snapshot has the members of its index           a_snapshot_has_the_members_of_its_index
A joining member starts from a snapshot           the_members_come_with_a_snapshot
One change of members at a time                   one_change_of_members_at_a_time
An unknown leader is followed                     a_leader_we_do_not_know_is_followed
Votes of strangers do not count                   votes_of_strangers_do_not_count
A refusal names the first index of the term       a_conflict_costs_one_question
Only fresh refusals move the search               an_old_refusal_does_not_undo_a_search
The search goes on at once, but not in a spin     what_is_missing_is_sent_at_once
One message carries all that is missing           one_message_carries_all_that_is_missing
Votes and acknowledgements wait for the disk      a_message_waits_for_the_disk
A term is on disk before anything is sent in it   entries_wait_if_the_term_is_not_on_disk_yet
A sign of life says nothing that is not on disk   test_writing: a_sign_of_life_acknowledges_what_...
A command that raises does not stop the log       a_command_that_raises_does_not_stop_the_log
An old snapshot is not taken                      an_old_snapshot_is_not_taken
Entries that agree are never cut                  a_late_copy_of_entries_cuts_nothing
Answers of an earlier term count for nothing      an_acknowledgement_of_an_earlier_term_counts_...
PreVote                                           a_member_that_was_cut_off_disturbs_nobody
No vote while there is a leader                   nobody_votes_while_there_is_a_leader
That promise outlives a restart                   a_promise_outlives_a_restart
A higher term is told to a leader                 a_higher_term_finds_its_leader
The lease counts from the sending                 the_lease_counts_from_the_sending
A snapshot is sent once                           a_snapshot_is_not_sent_again_and_again
A compaction that failed waits                    a_compaction_that_failed_is_not_tried_in_each_...
What is over is forgotten                         what_is_over_is_forgotten
Requests of an earlier run are not continued      answers_to_an_earlier_run_find_nobody
The commit index is within the log                the_commit_index_is_never_beyond_the_log
One clock                                         there_is_one_clock
Members hash the same in every run                test_sim_raft: a_seed_is_the_same_run_everywhere
Nothing is pickled                                test_library: nothing_is_pickled
Every private name of PySyncObj is checked        test_library: another_library_does_not_start
================================================  =================================================
"""
