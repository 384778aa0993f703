"""The fault matrix: every named fault, and the tests that pass it or why it is open.

A row is passed when the tests named here, below ``tests/``, stand for the whole of it. A row that is only
covered in part stays open and says so.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """A fault; ``tests`` are empty where it is open, ``open`` says why."""

    fault: str
    tests: tuple[str, ...] = ()
    open: str = ""


ROWS = {
    "N1": Row(
        "connection refused",
        (
            "faults/test_net.py::test_N1_connection_refused",
            "unit/policies/test_retry.py::test_what_is_sent_again",
            "unit/policies/test_calls.py::test_models_are_asked_in_order_and_the_last_failure_tells_all",
        ),
    ),
    "N2": Row(
        "DNS NXDOMAIN / SERVFAIL / slow DNS",
        (
            "faults/test_net.py::test_N2_name_not_resolved",
            "faults/test_net.py::test_N2_slow_names_are_bounded_by_the_connect_timeout",
            "unit/policies/test_retry.py::test_what_is_sent_again",
        ),
    ),
    "N3": Row(
        "TLS: self-signed, expired, wrong host",
        (
            "faults/test_net.py::test_N3_certificates_are_never_waved_through",
            "faults/test_net.py::test_N3_a_good_certificate_is_accepted",
        ),
    ),
    "N4": Row(
        "RST before response / mid body",
        (
            "faults/test_net.py::test_N4_connection_lost_before_the_answer",
            "faults/test_net.py::test_N4_connection_lost_inside_the_answer",
        ),
    ),
    "N5": Row("accept, never answer", ("faults/test_net.py::test_N5_accepted_and_never_answered",)),
    "N6": Row("slow-loris headers 1 B/0.5 s", ("faults/test_net.py::test_N6_headers_that_never_end",)),
    "N7": Row(
        "body drip 1 B/0.5 s",
        (
            "faults/test_net.py::test_N7_a_body_that_drips_without_an_event",
            "faults/test_net.py::test_N7_single_bytes_after_an_event_are_no_sign_of_life",
        ),
    ),
    "N8": Row(
        "stall after k events",
        (
            "faults/test_net.py::test_N8_a_stream_that_stalls",
            "faults/test_net.py::test_N8_before_the_answer_begins_the_first_timeout_counts",
            "faults/test_net.py::test_N8_comments_keep_a_stream_alive",
            "faults/test_net.py::test_N8_a_stall_after_the_finish_reason_is_the_end",
        ),
    ),
    "N9": Row(
        "half-close (FIN) mid body",
        (
            "faults/test_net.py::test_N9_half_close_inside_the_body",
            "faults/test_net.py::test_N9_a_close_delimited_stream_with_its_end_mark_is_whole",
        ),
    ),
    "N10": Row(
        "keep-alive socket closed by server between requests",
        (
            "faults/test_net.py::test_N10_a_kept_connection_that_was_closed_is_replaced_unseen",
            "faults/test_net.py::test_N10_the_free_retry_is_given_once",
        ),
    ),
    "N11": Row(
        "proxy env set, 407",
        (
            "faults/test_net.py::test_N11_proxies_of_the_environment_are_ignored",
            "faults/test_net.py::test_N11_a_configured_proxy_that_refuses",
        ),
    ),
    "N12": Row("pool exhausted 10x", ("faults/test_net.py::test_N12_many_calls_at_once_share_no_narrow_pool",)),
    "N13": Row("IPv6 blackhole", ("faults/test_net.py::test_N13_a_dead_address_gives_way_to_a_living_one",)),
    "P1": Row(
        "malformed JSON 200",
        (
            "faults/test_protocol.py::test_P1_malformed_json",
            "faults/test_protocol.py::test_P1_json_of_another_shape_is_no_success",
        ),
    ),
    "P2": Row(
        "HTML 200 (captive portal) / wrong content-type",
        (
            "faults/test_protocol.py::test_P2_html_with_status_200",
            "faults/test_protocol.py::test_P2_a_wrong_content_type_does_not_matter",
        ),
    ),
    "P3": Row('200 with `{"error":…}`', ("faults/test_protocol.py::test_P3_an_error_inside_a_200",)),
    "P4": Row(
        "truncated SSE, no terminal mark",
        (
            "faults/test_protocol.py::test_P4_a_stream_without_its_end_mark_is_never_a_success",
            "faults/test_protocol.py::test_P4_over_the_network",
        ),
    ),
    "P5": Row(
        "duplicated / reordered chunks (same index)",
        open="chunks carry no number to order them by; what repeats is not told from text that repeats",
    ),
    "P6": Row("U+2028, NEL, VT in data", ("faults/test_protocol.py::test_P6_separators_inside_text_stay",)),
    "P7": Row(
        "UTF-8 char split at every byte boundary", ("faults/test_protocol.py::test_P7_characters_split_at_every_byte",)
    ),
    "P8": Row("invalid UTF-8", ("faults/test_protocol.py::test_P8_invalid_utf8_is_typed",)),
    "P9": Row(
        "CRLF/CR/LF mix, BOM, comments, `event:`-less, empty data",
        ("faults/test_protocol.py::test_P9_line_ends_comments_and_fields",),
    ),
    "P10": Row("100 MB single line", ("faults/test_protocol.py::test_P10_a_line_without_an_end_is_refused_early",)),
    "P11": Row(
        "gzip bomb 200 KB->200 MB; truncated gzip; bad gzip",
        (
            "faults/test_protocol.py::test_P11_compressed_bodies",
            "faults/test_protocol.py::test_P11_streams_are_asked_for_uncompressed",
        ),
    ),
    "P12": Row(
        "CL shorter/longer, CL+TE, conflicting CL", ("faults/test_protocol.py::test_P12_bodies_of_another_length",)
    ),
    "P13": Row("redirect 302/307/308 cross-origin", ("faults/test_protocol.py::test_P13_redirects_are_refused",)),
    "P14": Row("1xx then 200; 204; empty 200", ("faults/test_protocol.py::test_P14_empty_and_early_answers",)),
    "P15": Row(
        "tool-call JSON deltas broken / usage missing / usage negative",
        (
            "faults/test_protocol.py::test_P15_usage_that_cannot_be",
            "faults/test_protocol.py::test_P15_no_usage_at_all",
            "faults/test_protocol.py::test_P15_broken_messages_do_not_crash",
        ),
    ),
    "V1": Row(
        "429 + Retry-After 2 / 0.5 / HTTP-date / ms header",
        (
            "faults/test_protocol.py::test_V1_what_a_429_asks_for_is_read",
            "unit/policies/test_retry.py::test_retry_after_is_waited_for_and_a_little_more",
        ),
    ),
    "V2": Row(
        "429 + nan, inf, -5, 1e400, `1,2`, 99999999999, year 9999, past date",
        (
            "faults/test_protocol.py::test_V2_what_is_no_number_of_seconds_is_absent",
            "faults/test_protocol.py::test_V2_a_date_far_away_is_a_long_time",
            "unit/policies/test_retry.py::test_odd_values_of_retry_after",
        ),
    ),
    "V3": Row(
        "429 insufficient_quota",
        (
            "faults/test_protocol.py::test_V3_no_money_is_not_asked_again",
            "unit/policies/test_calls.py::test_what_is_passed_over",
        ),
    ),
    "V4": Row(
        "529 and mid-stream overloaded_error",
        open="it is typed and retried; a limiter that shrinks has its own feature",
    ),
    "V5": Row(
        "500/502/503/504 single",
        (
            "faults/test_protocol.py::test_V5_what_may_be_asked_again",
            "faults/test_protocol.py::test_V5_what_may_not",
            "faults/test_protocol.py::test_V5_the_provider_s_own_word_wins",
            "unit/policies/test_retry.py::test_what_is_sent_again",
        ),
    ),
    "V6": Row("503 for 60 s then healthy", open="the breaker has its own feature"),
    "V7": Row(
        "auth expires mid-run (401 after 500 rows)",
        open="keys are not set aside while a run goes on; batches have their own feature",
    ),
    "V8": Row(
        "context_length_exceeded (each provider's wording)",
        (
            "faults/test_protocol.py::test_V8_a_prompt_too_long_in_each_provider_s_words",
            "unit/policies/test_calls.py::test_what_is_passed_over",
        ),
    ),
    "V9": Row(
        "content_filter / refusal",
        (
            "faults/test_protocol.py::test_V9_refused_content",
            "faults/test_protocol.py::test_V9_a_refusal_is_an_answer_with_its_text",
        ),
    ),
    "V10": Row(
        "provider ignores max_tokens / returns 10x", open="the cost is booked, nothing cuts an answer that is too long"
    ),
    "V11": Row("rate limits shared by 2 processes", open="the limiter has its own feature"),
    "V12": Row(
        "clock jumps +-1 h", open="time limits are monotonic by construction; no test moves the clock of the machine"
    ),
    "R1": Row("kill -9 at random times, 100 runs x 200 rows", open="resumable batches have their own feature"),
    "R2": Row("kill -9 during output projection", open="resumable batches have their own feature"),
    "R3": Row("SIGTERM / SIGINT x1 / x2 / x3", open="one SIGINT ends a run with 130; draining belongs to batches"),
    "R4": Row(
        "disk full (small tmpfs or RLIMIT_FSIZE) on journal, cache, log, output",
        open="of the cache only; journal and output belong to batches",
    ),
    "R5": Row(
        "EIO / read-only dir / permission lost mid-run", open="of the cache only; journal and output belong to batches"
    ),
    "R6": Row(
        "cache DB locked by another process 60 s",
        open="of the cache only, with a lock that is held for the length of a test",
    ),
    "R7": Row(
        "cache/journal header garbage, page bit-flips (100 seeds)", open="of the cache only; there is no journal"
    ),
    "R8": Row(
        "worker OOM-killed / segfault (ONNX)",
        (
            "faults/test_local_rows.py::test_R8_a_process_that_dies_fails_its_call_and_the_run_goes_on",
            "faults/test_local_rows.py::test_R8_without_a_map_it_is_the_failure_of_the_run",
            "unit/backends/local/test_isolated.py::test_a_process_killed_in_mid_batch_fails_that_batch_alone",
            "unit/backends/local/generation/test_isolated.py::test_a_killed_process_fails_all_that_it_wrote",
        ),
    ),
    "R9": Row("fork/thread start limit, fd limit 64", open="no test starves the process of descriptors or threads"),
    "R10": Row("two runs on the same run-dir", open="resumable batches have their own feature"),
    "R11": Row(
        "power-loss model (drop unsynced writes; e.g. dm-log-writes/LazyFS)",
        open="resumable batches have their own feature",
    ),
    "R12": Row("1 h soak, 10% mixed faults, 100 rps", open="an hour of running is no test of the suite"),
    "D1": Row("empty file / header only / 0 rows", open="resumable batches have their own feature"),
    "D2": Row("10 MB single field; 1 M rows", open="resumable batches have their own feature"),
    "D3": Row(
        "invalid UTF-8, UTF-16, BOM, NUL, CRLF, no final newline",
        (
            "faults/test_data_rows.py::test_D3_bytes_that_are_no_text",
            "faults/test_data_rows.py::test_D3_text_is_kept_to_the_byte_but_for_the_mark",
            "faults/test_data_rows.py::test_D3_rows_are_read_alike",
            "faults/test_data_rows.py::test_D3_in_a_process_of_its_own",
        ),
    ),
    "D4": Row('duplicate ids / missing id / id 1 vs "1" vs 1.0', open="resumable batches have their own feature"),
    "D5": Row(
        "NaN, Inf, 1e400, 2^63, -0.0, lone surrogate",
        (
            "faults/test_data_rows.py::test_D5_json_that_is_not_strict",
            "faults/test_data_rows.py::test_D5_numbers_that_are_typed",
            "faults/test_data_rows.py::test_D5_numbers_come_out_as_they_went_in",
            "faults/test_data_rows.py::test_D5_what_a_program_gives_never_leaves_as_bad_json",
            "faults/test_data_rows.py::test_D5_inputs_given_from_python_are_checked_alike",
        ),
    ),
    "D6": Row("CSV quoting hell, ragged rows, formula cells `=cmd()`", open="resumable batches have their own feature"),
    "D7": Row("input changed during run (sha differs)", open="resumable batches have their own feature"),
    "C1": Row(
        "cycle, self-loop, orphan, two nodes same name",
        (
            "faults/test_config_rows.py::test_C1_graphs_that_cannot_run",
            "faults/test_config_rows.py::test_C1_an_orphan_is_a_warning_and_an_error_when_strict",
        ),
    ),
    "C2": Row(
        "unknown node type / provider / field",
        ("faults/test_config_rows.py::test_C2_unknown_words_have_a_place_and_a_suggestion",),
    ),
    "C3": Row(
        "type mismatch on edge",
        (
            "faults/test_config_rows.py::test_C3_types_along_edges",
            "faults/test_config_rows.py::test_C3_no_call_is_made",
        ),
    ),
    "C4": Row(
        "YAML bomb, 100k nesting, recursive alias, tags, multi-doc",
        (
            "faults/test_config_rows.py::test_C4_hostile_yaml",
            "faults/test_config_rows.py::test_C4_hostile_yaml_in_other_files",
        ),
    ),
    "C5": Row(
        "tabs, duplicate keys; `no` stays text; `012`, `1:30` for a number",
        (
            "faults/test_config_rows.py::test_C5_scalars_and_layout",
            "faults/test_config_rows.py::test_C5_the_raw_scalar_is_shown",
            "faults/test_config_rows.py::test_C5_words_that_yaml_1_1_would_turn_stay_text",
        ),
    ),
    "C6": Row(
        "NFC/NFD, bidi, zero-width, homoglyph keys", ("faults/test_config_rows.py::test_C6_keys_that_look_alike",)
    ),
    "C7": Row(
        "`${oc.env:X}`, unknown resolver, interpolation cycle in library",
        (
            "faults/test_config_rows.py::test_C7_resolvers_of_the_project",
            "faults/test_config_rows.py::test_C7_resolvers_of_a_library",
            "faults/test_config_rows.py::test_C7_a_secret_of_the_environment_is_not_shown",
        ),
    ),
    "C8": Row(
        "`_target_`, `# @package _global_`, `../` defaults, searchpath",
        (
            "faults/test_config_rows.py::test_C8_keys_that_load_code",
            "faults/test_config_rows.py::test_C8_twenty_dangerous_targets",
            "faults/test_config_rows.py::test_C8_words_of_the_command_line_load_no_code_either",
        ),
    ),
    "C9": Row(
        "`file:` in YAML: traversal, symlink, FIFO; `-i @file`: FIFO, device, /proc",
        (
            "faults/test_config_rows.py::test_C9_files_that_a_pipeline_names",
            "faults/test_config_rows.py::test_C9_samples_that_a_pipeline_names",
            "faults/test_config_rows.py::test_C9_what_is_typed_and_no_regular_file_is_refused",
            "faults/test_config_rows.py::test_C9_what_is_typed_has_the_rights_of_the_user",
            "faults/test_config_rows.py::test_C9_a_pipeline_that_is_a_pipe_is_refused",
        ),
    ),
    "C10": Row(
        "remote `$ref`, ReDoS, exponential schema",
        (
            "faults/test_config_rows.py::test_C10_schemas_that_reach_out_or_never_end",
            "faults/test_config_rows.py::test_C10_the_listener_counts",
            "faults/test_config_rows.py::test_C10_patterns_and_unique_items_are_linear",
        ),
    ),
    "C11": Row("library digest differs from lock", open="libraries and their lock have their own feature"),
    "C12": Row(
        "10,000-node DAG, 5,000-deep chain",
        (
            "faults/test_config_rows.py::test_C12_large_graphs_run",
            "faults/test_config_rows.py::test_C12_a_circle_of_5000_is_named",
            "unit/compiler/test_size.py::test_c12_a_chain_of_5000",
            "unit/compiler/test_size.py::test_c12_a_graph_of_10000",
        ),
    ),
    "G1": Row("gateway: 100 parallel calls on a 1.00 budget, 0.10 each", open="the gateway has its own feature"),
    "G2": Row("gateway: client disconnects mid-stream", open="the gateway has its own feature"),
    "G3": Row("gateway: 50 MB body, 10k headers, slow upload, pipelined", open="the gateway has its own feature"),
    "G4": Row("gateway: DB down", open="the gateway has its own feature"),
    "G5": Row("key revoked", open="the gateway has its own feature"),
    "G6": Row("Host/X-Forwarded-* spoof, path `//`, `%2e%2e`, method override", open="the gateway has its own feature"),
}
