// One function a promise, and one more for its form on a queue where that is another. Each gets a
// bench with a fresh backend and its own topics; what a backend cannot do is said by the
// capabilities beside the case (cases.c), never skipped in silence.
#pragma once

struct bench;

// cases_send.c
void probe_says_what_it_is(struct bench *bench);
void an_ok_names_the_position(struct bench *bench);
void mixed_partitions_keep_their_order(struct bench *bench);
void every_body_and_key_comes_back(struct bench *bench);
void names_may_be_unicode(struct bench *bench);
void what_is_not_kept_is_refused(struct bench *bench);
void creating_is_idempotent(struct bench *bench);
void a_topic_can_grow(struct bench *bench);
void a_deleted_topic_answers_not_found(struct bench *bench);

// cases_consume.c
void demand_is_never_exceeded(struct bench *bench);
void followers_of_the_end_are_told(struct bench *bench);
void each_group_gets_everything(struct bench *bench);
void start_positions(struct bench *bench);
void a_due_message_waits(struct bench *bench);
void many_due_messages_all_come(struct bench *bench);
void what_has_expired_is_dropped_and_counted(struct bench *bench);
void the_backlog_adds_up_at_every_step(struct bench *bench);
void the_backlog_of_a_queue_adds_up(struct bench *bench);

// cases_settle.c
void a_nack_comes_again_with_its_attempt(struct bench *bench);
void a_delayed_nack_waits(struct bench *bench);
void old_receipts_are_stale(struct bench *bench);
void runs_of_receipts_settle_together(struct bench *bench);
void what_was_unsettled_comes_again(struct bench *bench);
void attempts_survive(struct bench *bench);
void rejected_come_once_more_by_themselves(struct bench *bench);
void rejected_come_once_more_from_a_queue(struct bench *bench);
void a_reject_waits_for_nothing_else(struct bench *bench);
void a_reject_that_is_cut_off_comes_again(struct bench *bench);
void many_nacks_keep_their_attempts(struct bench *bench);
void attempts_have_no_end(struct bench *bench);
void a_long_nack_survives_outside_the_window(struct bench *bench);
void a_deleted_group_hands_on_nothing(struct bench *bench);
void the_window_has_a_bound(struct bench *bench);

// cases_queue.c
void each_group_gets_what_is_sent_after_it(struct bench *bench);
void a_deleted_queue_hands_on_nothing(struct bench *bench);
void a_queue_hands_out_no_more_than_its_bound(struct bench *bench);
void a_nack_comes_again_as_another_delivery(struct bench *bench);
void a_reject_that_is_cut_off_has_not_ended(struct bench *bench);
void attempts_survive_in_the_copy(struct bench *bench);
void many_copies_keep_their_attempts(struct bench *bench);
void what_is_out_comes_again_after_a_loss(struct bench *bench);
void a_group_is_moved_back_in_its_history(struct bench *bench);
void what_comes_again_can_be_given_up(struct bench *bench);
void what_is_sent_meanwhile_is_there(struct bench *bench);

// cases_admin.c
void a_group_can_be_moved(struct bench *bench);
void a_group_can_be_moved_to_a_time(struct bench *bench);
void what_waits_can_be_given_up(struct bench *bench);
void groups_come_and_go(struct bench *bench);
void a_topic_can_be_purged(struct bench *bench);
void messages_can_be_queried(struct bench *bench);
void retention_by_size(struct bench *bench);
void retention_by_age(struct bench *bench);
void retention_can_change(struct bench *bench);
void what_is_stored_is_told(struct bench *bench);

// cases_damage.c
void damaged_messages_are_said_and_given_up(struct bench *bench);
void only_what_was_named_is_given_up(struct bench *bench);
void a_key_out_of_order_costs_its_own_messages(struct bench *bench);
void a_damaged_row_of_a_topic_is_made_anew(struct bench *bench);

// cases_restart.c
void stored_messages_survive(struct bench *bench);
void only_the_unacked_comes_after_a_kill(struct bench *bench);

// cases_store.c
void a_deleted_group_leaves_no_rows(struct bench *bench);
void a_reset_leaves_no_rows(struct bench *bench);
void an_ack_leaves_no_rows(struct bench *bench);
void a_full_store_keeps_what_it_cannot_put_aside(struct bench *bench);

// cases_own.c
void a_second_owner_is_refused(struct bench *bench);
void another_format_is_refused(struct bench *bench);
void damage_is_refused(struct bench *bench);
void wrong_options_are_refused(struct bench *bench);
void wrong_kafka_options_are_refused(struct bench *bench);
void a_full_map_refuses_and_recovers(struct bench *bench);
void a_failing_disk_refuses(struct bench *bench);
void a_doubtful_commit_is_unknown(struct bench *bench);
void a_torn_d1_store_is_set_aside(struct bench *bench);
void an_unreadable_mark_is_no_other_boot(struct bench *bench);
