// The rows of the counter catalogue; see stats/catalogue.h. One list a layer, joined at the end.
#pragma once

// clang-format off

// What arrived and left, and why a frame was dropped before it reached a protocol.
#define SLUICE_COUNTERS_WIRE(ROW) \
  ROW(rx_frames, "frames", "frames received from the port") \
  ROW(rx_bytes, "bytes", "bytes of frames received from the port") \
  ROW(tx_frames, "frames", "frames put on the wire (a segmented train counts each of its frames)") \
  ROW(tx_bytes, "bytes", "bytes of frames put on the wire")

#define SLUICE_COUNTERS_INET(ROW) \
  ROW(inet_drop_frame_short, "frames", "dropped: too short for an Ethernet header") \
  ROW(inet_drop_frame_foreign, "frames", "dropped: unicast to another MAC address") \
  ROW(inet_drop_frame_group, "frames", "dropped: unicast packet in a broadcast or multicast frame") \
  ROW(inet_drop_vlan, "frames", "dropped: 802.1Q tag missing, or not the configured one") \
  ROW(inet_drop_ether_type, "frames", "dropped: neither IPv4, IPv6 nor ARP") \
  ROW(inet_drop_arp_malformed, "frames", "dropped: ARP too short, of an unknown kind, or from an impossible sender") \
  ROW(inet_drop_ipv4_truncated, "frames", "dropped: IPv4 header beyond the end of the frame") \
  ROW(inet_drop_ipv4_version, "frames", "dropped: IPv4 version is not 4") \
  ROW(inet_drop_ipv4_header_length, "frames", "dropped: IPv4 header length below 20") \
  ROW(inet_drop_ipv4_total_length, "frames", "dropped: IPv4 total length below its header or beyond the frame") \
  ROW(inet_drop_ipv4_checksum, "frames", "dropped: IPv4 header checksum wrong") \
  ROW(inet_drop_ipv4_fragment, "frames", "dropped: IPv4 fragment") \
  ROW(inet_drop_ipv4_source, "frames", "dropped: IPv4 source is broadcast, multicast, loopback, unspecified or ourselves") \
  ROW(inet_drop_ipv6_truncated, "frames", "dropped: IPv6 header beyond the end of the frame") \
  ROW(inet_drop_ipv6_version, "frames", "dropped: IPv6 version is not 6") \
  ROW(inet_drop_ipv6_payload_length, "frames", "dropped: IPv6 payload length beyond the frame") \
  ROW(inet_drop_ipv6_fragment, "frames", "dropped: IPv6 fragment header") \
  ROW(inet_drop_ipv6_source, "frames", "dropped: IPv6 source is multicast, loopback, unspecified, IPv4-mapped or ourselves") \
  ROW(inet_drop_ipv6_extension_truncated, "frames", "dropped: IPv6 extension header beyond the end of the packet") \
  ROW(inet_drop_ipv6_extension_limit, "frames", "dropped: IPv6 extension headers too many or too long") \
  ROW(inet_drop_ipv6_extension_misplaced, "frames", "dropped: IPv6 hop-by-hop options not directly after the header") \
  ROW(inet_drop_ipv6_option, "frames", "dropped: IPv6 option that is unknown and says to drop the packet") \
  ROW(inet_drop_ipv6_routing, "frames", "dropped: IPv6 routing header with segments left") \
  ROW(inet_drop_ipv6_no_next_header, "frames", "dropped: IPv6 packet without an upper layer") \
  ROW(inet_drop_not_for_us, "frames", "dropped: destination is none of our addresses") \
  ROW(inet_drop_group, "frames", "dropped: broadcast or multicast packet of a kind that is not for us") \
  ROW(inet_drop_udp, "frames", "dropped: UDP (answered with port unreachable)") \
  ROW(inet_drop_protocol, "frames", "dropped: unknown upper protocol (answered with an ICMP error)") \
  ROW(inet_drop_tcp_short, "frames", "dropped: TCP segment shorter than its header") \
  ROW(inet_drop_tcp_checksum, "frames", "dropped: TCP checksum wrong") \
  ROW(inet_drop_icmp_short, "frames", "dropped: ICMP message shorter than its header") \
  ROW(inet_drop_icmp_checksum, "frames", "dropped: ICMP checksum wrong") \
  ROW(inet_drop_icmp_type, "frames", "dropped: ICMP message of a kind that is not for us") \
  ROW(inet_drop_icmp_quote, "frames", "dropped: ICMP error that does not quote a TCP segment of ours") \
  ROW(inet_drop_path_mtu, "frames", "dropped: path MTU message with an impossible or useless MTU") \
  ROW(inet_drop_echo_size, "frames", "dropped: echo request with more data than an answer can carry") \
  ROW(inet_drop_echo_rate, "frames", "dropped: echo request above the rate limit") \
  ROW(inet_drop_ndp_malformed, "frames", "dropped: NDP message malformed, not from this link, or not addressed as it should be") \
  ROW(inet_drop_ndp_ignored, "frames", "dropped: NDP message of no concern to us (redirect, router solicitation, another's target)") \
  ROW(inet_drop_mld_malformed, "frames", "dropped: multicast listener query too short or not from this link") \
  ROW(inet_drop_answer_queue, "answers", "own frames not sent: the queue of answers was full") \
  ROW(inet_drop_answer_slots, "answers", "own frames not sent: no head slot was free") \
  ROW(inet_drop_error_rate, "answers", "ICMP errors not sent: above the rate limit") \
  ROW(inet_drop_neighbor_rate, "answers", "ARP and NDP answers or questions not sent: above the rate limit") \
  ROW(inet_routers_ignored, "advertisements", "router advertisements ignored: the list of routers is full") \
  ROW(inet_address_conflicts, "frames", "another station claimed one of our addresses") \
  ROW(inet_arp_sent, "frames", "ARP requests, replies and announcements sent") \
  ROW(inet_ndp_sent, "frames", "NDP messages sent") \
  ROW(inet_mld_sent, "frames", "multicast listener reports sent") \
  ROW(inet_echo_answered, "frames", "echo replies sent") \
  ROW(inet_errors_sent, "frames", "ICMP errors sent") \
  ROW(inet_path_mtu_messages, "messages", "path MTU messages handed to TCP for validation") \
  ROW(inet_unreachable_messages, "messages", "other ICMP errors about our segments handed to TCP") \
  ROW(inet_neighbors_resolved, "neighbors", "neighbours that became known") \
  ROW(inet_neighbors_failed, "neighbors", "neighbours that did not answer") \
  ROW(inet_neighbors_evicted, "neighbors", "neighbours forgotten to make room for others") \
  ROW(inet_neighbors, "neighbors", "neighbours in the table now")

#define SLUICE_COUNTERS_TCP(ROW) \
  ROW(tcp_segments_received, "segments", "TCP segments received with a valid checksum") \
  ROW(tcp_segments_sent, "segments", "TCP segments described for sending (a train counts once)") \
  ROW(tcp_payload_received_bytes, "bytes", "payload bytes received in order") \
  ROW(tcp_payload_sent_bytes, "bytes", "payload bytes described for sending, retransmissions included") \
  ROW(tcp_retransmitted_segments, "segments", "segments sent again (a train counts once)") \
  ROW(tcp_retransmitted_bytes, "bytes", "payload bytes sent again") \
  ROW(tcp_out_of_order_segments, "segments", "segments kept behind a gap") \
  ROW(tcp_duplicate_segments, "segments", "segments with payload that had arrived before") \
  ROW(tcp_syn_received, "segments", "SYNs for a port that is listened on") \
  ROW(tcp_accepted, "connections", "connections established") \
  ROW(tcp_finished, "connections", "connections that ended with FIN both ways") \
  ROW(tcp_reset_by_peer, "connections", "connections that ended with an RST of the peer") \
  ROW(tcp_aborted, "connections", "connections that ended with an RST of ours") \
  ROW(tcp_timed_out, "connections", "connections given up for lack of progress or of an answer to keep-alive") \
  ROW(tcp_half_open_recycled, "connections", "half-open connections dropped to make room for newer ones") \
  ROW(tcp_half_open_unreachable, "connections", "half-open connections dropped: the link address of the peer cannot be found") \
  ROW(tcp_half_open_expired, "connections", "half-open connections that were never completed") \
  ROW(tcp_half_open_reset, "connections", "half-open connections ended by an RST, or dropped when draining") \
  ROW(tcp_fin_wait_2_expired, "connections", "connections whose peer never sent its FIN after ours") \
  ROW(tcp_syn_ack_retransmitted, "segments", "SYN-ACKs sent again") \
  ROW(tcp_fast_recoveries, "events", "losses found by SACK or duplicate ACKs") \
  ROW(tcp_rto, "events", "retransmission timeouts") \
  ROW(tcp_spurious_recoveries, "events", "recoveries undone: the original transmission had arrived") \
  ROW(tcp_lost_retransmissions, "events", "retransmissions found lost before the timer expired") \
  ROW(tcp_spurious_timeouts, "events", "of those, timeouts that F-RTO found needless (RFC 5682)") \
  ROW(tcp_retransmitted_after_loss, "segments", "of the segments sent again, those in fast recovery") \
  ROW(tcp_retransmitted_after_timeout, "segments", "of the segments sent again, those after a timeout or for a smaller path MTU") \
  ROW(tcp_lost_bytes, "bytes", "payload bytes found lost by an ACK") \
  ROW(tcp_duplicates_reported, "blocks", "bytes that the peer says it received twice (DSACK, RFC 2883)") \
  ROW(tcp_reordering_seen, "events", "senders that saw their path reorder for the first time") \
  ROW(tcp_sack_reneged, "events", "peers that threw away what they had reported (RFC 2018 section 8)") \
  ROW(tcp_tail_probes, "segments", "tail loss probes sent") \
  ROW(tcp_tail_probes_useful, "segments", "tail loss probes that repaired a loss") \
  ROW(tcp_window_probes, "segments", "zero-window probes sent") \
  ROW(tcp_keep_alive_probes, "segments", "keep-alive probes sent") \
  ROW(tcp_path_mtu_reduced, "events", "segment sizes reduced for a path MTU message") \
  ROW(tcp_path_mtu_ignored, "messages", "path MTU messages that fit no connection or no segment in flight") \
  ROW(tcp_syn_cookies_entered, "events", "times that SYN cookies began: the half-open table was nearly full") \
  ROW(tcp_syn_cookies_left, "events", "times that SYN cookies ended") \
  ROW(tcp_syn_cookies_sent, "segments", "SYNs answered without remembering them (RFC 4987)") \
  ROW(tcp_syn_cookies_accepted, "connections", "connections begun from a SYN cookie") \
  ROW(tcp_syn_cookies_bad, "segments", "ACKs of no known connection that carried no good SYN cookie") \
  ROW(tcp_fast_open_cookies_given, "segments", "Fast Open cookies asked for and given (RFC 7413)") \
  ROW(tcp_fast_open_cookies_bad, "segments", "SYNs with a Fast Open cookie that is not ours, or too old: their data was ignored") \
  ROW(tcp_fast_open_limited, "segments", "SYNs with a good Fast Open cookie whose data was ignored: too many were pending") \
  ROW(tcp_fast_open_accepted, "connections", "connections begun from a SYN with data and a good Fast Open cookie") \
  ROW(tcp_source_half_open_limited, "segments", "SYNs answered with a cookie: their source had too many half-open connections") \
  ROW(tcp_path_mtu_recalled, "events", "segment sizes reduced for what another connection had learnt of the path") \
  ROW(tcp_path_black_holes, "events", "segment sizes reduced because large segments timed out and smaller ones came through (RFC 4821)") \
  ROW(tcp_path_probes, "segments", "larger segments sent to find out what the path carries") \
  ROW(tcp_path_probes_good, "segments", "such segments that arrived: the segment size was raised") \
  ROW(tcp_path_probes_lost, "segments", "such segments that were lost") \
  ROW(tcp_challenge_acks, "segments", "challenge ACKs and answers to unacceptable segments (RFC 5961)") \
  ROW(tcp_challenge_acks_limited, "segments", "challenge ACKs not sent: above the rate limit") \
  ROW(tcp_resets_sent, "segments", "RSTs sent") \
  ROW(tcp_ecn_agreed, "connections", "connections that agreed on ECN (RFC 3168)") \
  ROW(tcp_ecn_marks_received, "segments", "segments that came with a congestion mark on a connection with ECN") \
  ROW(tcp_ecn_echoes, "segments", "ACKs that said that something of ours was marked") \
  ROW(tcp_resets_limited, "segments", "RSTs to segments of no connection not sent: above the rate limit") \
  ROW(tcp_replies_dropped, "segments", "RSTs and TIME-WAIT ACKs not sent: their queue was full") \
  ROW(tcp_refused_port, "segments", "SYNs for a port that is not listened on") \
  ROW(tcp_refused_draining, "segments", "SYNs refused while draining") \
  ROW(tcp_refused_unknown, "segments", "segments of no known connection, answered with RST") \
  ROW(tcp_drop_unknown_reset, "segments", "dropped: RST of no known connection") \
  ROW(tcp_drop_malformed, "segments", "dropped: header length impossible") \
  ROW(tcp_drop_options, "segments", "dropped: option length impossible") \
  ROW(tcp_drop_flags, "segments", "dropped: flags that make no sense together") \
  ROW(tcp_drop_port_zero, "segments", "dropped: port 0") \
  ROW(tcp_drop_connections_full, "segments", "dropped: SYN while every connection was taken") \
  ROW(tcp_drop_source_connections, "segments", "dropped: SYN from a source with as many connections as it may have") \
  ROW(tcp_drop_no_ack, "segments", "dropped: no ACK flag on an established connection") \
  ROW(tcp_drop_no_timestamp, "segments", "dropped: no timestamp though they were agreed on (RFC 7323)") \
  ROW(tcp_drop_paws, "segments", "dropped: timestamp older than the last one (RFC 7323, PAWS)") \
  ROW(tcp_drop_out_of_window, "segments", "dropped: sequence number outside of the window") \
  ROW(tcp_drop_reset_blind, "segments", "dropped: RST in the window, but not the next sequence number (RFC 5961)") \
  ROW(tcp_drop_syn_blind, "segments", "dropped: SYN on an established connection (RFC 5961)") \
  ROW(tcp_drop_ack_unsent, "segments", "dropped: ACK of something never sent, or too old (RFC 5961)") \
  ROW(tcp_drop_beyond_window, "segments", "payload cut off: beyond the advertised window") \
  ROW(tcp_drop_after_close, "bytes", "payload acknowledged and dropped: the session had closed") \
  ROW(tcp_drop_receive_buffers, "segments", "dropped: every receive buffer was taken") \
  ROW(tcp_receive_buffers_reclaimed, "buffers", "receive buffers taken from connections that kept only bytes out of order") \
  ROW(tcp_drop_too_many_gaps, "segments", "dropped: one gap too many behind the next byte") \
  ROW(tcp_sack_invalid, "blocks", "SACK blocks ignored: empty, old or beyond what was sent") \
  ROW(tcp_time_wait_reused, "connections", "connections begun from TIME-WAIT (RFC 6191)") \
  ROW(tcp_time_wait_refused, "segments", "dropped: SYN in TIME-WAIT that was not new enough") \
  ROW(tcp_time_wait_recycled, "connections", "TIME-WAIT entries forgotten to make room") \
  ROW(tcp_stalled_shed, "connections", "stalled readers reset because something that connections share had run out") \
  ROW(tcp_send_queues_exhausted, "calls", "responses put off: every send queue was taken") \
  ROW(tcp_recoveries_plain, "events", "losses repaired without metering and without undo: every record for that was taken") \
  ROW(tcp_sent_runs_exhausted, "events", "records of sending kept less exactly: every run was taken") \
  ROW(tcp_connections, "connections", "connections now, half-open ones included") \
  ROW(tcp_half_open, "connections", "half-open connections now") \
  ROW(tcp_syn_cookies_active, "state", "1 while SYNs are answered with cookies") \
  ROW(tcp_time_wait, "connections", "connections in TIME-WAIT now") \
  ROW(tcp_send_queues_in_use, "queues", "send queues taken now") \
  ROW(tcp_receive_buffers_in_use, "buffers", "receive buffers taken now") \
  ROW(tcp_sent_runs_in_use, "runs", "records of sending taken now") \
  ROW(tcp_recoveries_in_use, "connections", "connections that repair losses, or may yet find that there were none")

#define SLUICE_COUNTERS_HTTP(ROW) \
  ROW(http_requests, "requests", "requests parsed whole") \
  ROW(http_responses, "responses", "responses begun") \
  ROW(http_status_200, "responses", "responses with status 200 (OK)") \
  ROW(http_status_206, "responses", "responses with status 206 (Partial Content)") \
  ROW(http_status_301, "responses", "responses with status 301 (Moved Permanently)") \
  ROW(http_status_304, "responses", "responses with status 304 (Not Modified)") \
  ROW(http_status_400, "responses", "responses with status 400 (Bad Request)") \
  ROW(http_status_403, "responses", "responses with status 403 (Forbidden)") \
  ROW(http_status_404, "responses", "responses with status 404 (Not Found)") \
  ROW(http_status_405, "responses", "responses with status 405 (Method Not Allowed)") \
  ROW(http_status_408, "responses", "responses with status 408 (Request Timeout)") \
  ROW(http_status_412, "responses", "responses with status 412 (Precondition Failed)") \
  ROW(http_status_413, "responses", "responses with status 413 (Content Too Large)") \
  ROW(http_status_414, "responses", "responses with status 414 (URI Too Long)") \
  ROW(http_status_416, "responses", "responses with status 416 (Range Not Satisfiable)") \
  ROW(http_status_417, "responses", "responses with status 417 (Expectation Failed)") \
  ROW(http_status_421, "responses", "responses with status 421 (Misdirected Request)") \
  ROW(http_status_431, "responses", "responses with status 431 (Request Header Fields Too Large)") \
  ROW(http_status_500, "responses", "responses with status 500 (Internal Server Error)") \
  ROW(http_status_501, "responses", "responses with status 501 (Not Implemented)") \
  ROW(http_status_503, "responses", "responses with status 503 (Service Unavailable)") \
  ROW(http_status_505, "responses", "responses with status 505 (HTTP Version Not Supported)") \
  ROW(http_reject_method_malformed, "requests", "heads refused: no method, or a byte in it that no method has") \
  ROW(http_reject_method_too_long, "requests", "heads refused: method longer than any known") \
  ROW(http_reject_request_line_malformed, "requests", "heads refused: request line is not three words with one space between them") \
  ROW(http_reject_request_line_too_long, "requests", "heads refused: request line over 8 KiB") \
  ROW(http_reject_target_malformed, "requests", "heads refused: target is no URI, or not of the form its method takes") \
  ROW(http_reject_target_misdirected, "requests", "heads refused: absolute target of a scheme other than http") \
  ROW(http_reject_version_malformed, "requests", "heads refused: no HTTP version") \
  ROW(http_reject_version_unsupported, "requests", "heads refused: HTTP version other than 1.x") \
  ROW(http_reject_head_too_large, "requests", "heads refused: head over 16 KiB") \
  ROW(http_reject_line_malformed, "requests", "heads refused: control byte, bare CR or bare LF in the head") \
  ROW(http_reject_field_malformed, "requests", "heads refused: field line without a good name and a colon, or folded") \
  ROW(http_reject_host_missing, "requests", "heads refused: HTTP/1.1 without Host") \
  ROW(http_reject_host_malformed, "requests", "heads refused: Host is no authority, or there is more than one") \
  ROW(http_reject_length_malformed, "requests", "heads refused: Content-Length is not one number") \
  ROW(http_reject_coding_malformed, "requests", "heads refused: Transfer-Encoding without chunked at its end, or in HTTP/1.0") \
  ROW(http_reject_coding_unknown, "requests", "heads refused: transfer coding other than chunked") \
  ROW(http_reject_framing_ambiguous, "requests", "heads refused: both Transfer-Encoding and Content-Length") \
  ROW(http_body_drained_bytes, "bytes", "request content read and thrown away") \
  ROW(http_body_failed, "requests", "request content malformed or too long: connection closed")

#define SLUICE_COUNTERS_ENGINE(ROW) \
  ROW(engine_responses_cut, "responses", "connections reset because the content could be read no more (file changed, disk error)") \
  ROW(engine_drop_reply_unresolved, "segments", "replies without a connection dropped: the peer has no link address, or too many wait for one") \
  ROW(session_idle_timeouts, "connections", "connections closed: no request for the idle time-out") \
  ROW(session_request_timeouts, "requests", "connections closed with 408: a request took longer than the time-out") \
  ROW(session_requests_shed, "requests", "requests answered 503: send queues or head slots had run out") \
  ROW(session_buffers_shed, "connections", "connections closed (with 408, if in the middle of a request) since every receive buffer was taken") \
  ROW(session_slot_waits, "requests", "requests that waited for a free head slot") \
  ROW(session_exchanges_exhausted, "requests", "half a request, request content or an answer awaited for which there was no place to remember it") \
  ROW(session_lookups_refused, "requests", "requests answered 503: too many paths being looked up") \
  ROW(catalog_pieces_missed, "pieces", "pieces that a response needed and that were not in the arena") \
  ROW(catalog_pieces_prefetched, "pieces", "pieces asked for by read-ahead") \
  ROW(catalog_leases_revoked, "leases", "pieces taken from a connection in the middle of sending them")

#define SLUICE_COUNTERS_STORE(ROW) \
  ROW(store_lookups, "lookups", "path lookups asked of the store") \
  ROW(store_lookup_hits, "lookups", "lookups answered without asking the disk") \
  ROW(store_lookup_joins, "lookups", "lookups that joined one under way for the same path") \
  ROW(store_lookups_busy, "lookups", "lookups answered busy: too many open, a table full, or a file that keeps changing") \
  ROW(store_opens, "opens", "paths opened on the disk") \
  ROW(store_open_errors, "opens", "opens that failed or led to no regular file") \
  ROW(store_settles, "pauses", "pauses because a file had changed in the running clock tick") \
  ROW(store_objects, "objects", "file versions remembered (gauge)") \
  ROW(store_objects_new, "objects", "file versions met for the first time") \
  ROW(store_objects_recycled, "objects", "file versions forgotten to make room for others") \
  ROW(store_pieces_asked, "pieces", "pieces asked for by workers") \
  ROW(store_piece_hits, "pieces", "pieces asked for that were in the arena") \
  ROW(store_piece_joins, "pieces", "pieces asked for that were being filled already") \
  ROW(store_fills, "fills", "fills begun") \
  ROW(store_fills_done, "fills", "pieces filled whole") \
  ROW(store_reads, "reads", "reads asked of the disk") \
  ROW(store_read_bytes, "bytes", "bytes read from the disk") \
  ROW(store_reads_short, "reads", "reads that brought less than was asked") \
  ROW(store_reads_buffered, "reads", "reads through the page cache, because O_DIRECT is off or refused") \
  ROW(store_read_errors, "reads", "reads that failed") \
  ROW(store_stale, "objects", "file versions that could be read no more because the file changed") \
  ROW(store_failed_stale, "pieces", "pieces not filled because the file changed") \
  ROW(store_failed_io_error, "pieces", "pieces not filled because of an I/O error") \
  ROW(store_declined, "pieces", "read-ahead declined because room was short") \
  ROW(store_needs_refused, "pieces", "pieces refused because a worker had too many open") \
  ROW(store_waits, "pieces", "pieces that had to wait for a chunk") \
  ROW(store_evictions, "chunks", "chunks taken back to make room") \
  ROW(store_revocations, "chunks", "chunks taken back while leased, because their readers stalled") \
  ROW(store_discards, "chunks", "chunks taken back because their bytes had gone bad") \
  ROW(store_changes, "events", "changes in watched directories") \
  ROW(store_changes_lost, "events", "changes of which only the fact was told: anything may have changed") \
  ROW(store_watches_refused, "directories", "directories not watched because a limit was reached") \
  ROW(store_revalidations, "messages", "times that workers were told to look paths up again") \
  ROW(store_files_open, "files", "file descriptors in use (gauge)") \
  ROW(store_files_recycled, "files", "files closed to open others") \
  ROW(store_chunks_free, "chunks", "chunks that hold nothing (gauge)") \
  ROW(store_chunks_filling, "chunks", "chunks being filled (gauge)") \
  ROW(store_chunks_ready, "chunks", "chunks that hold content (gauge)") \
  ROW(store_chunks_retiring, "chunks", "chunks being taken back (gauge)") \
  ROW(store_wakeups, "times", "times that the store's thread slept and was woken")

// Replication: the replica's thread. Refused: what a peer said, and what was done about it (frames, peers, records: the
// link is closed or the record dropped; wants: a Refuse is sent).
#define SLUICE_COUNTERS_REPLICA(ROW) \
  ROW(replica_peers_up, "peers", "peers with at least one authenticated link (gauge)") \
  ROW(replica_peers_came, "peers", "peers whose first link came up") \
  ROW(replica_peers_went, "peers", "peers whose last link went down") \
  ROW(replica_dials, "dials", "links asked for") \
  ROW(replica_dials_failed, "dials", "of those, the ones that nobody answered") \
  ROW(replica_links_up, "links", "links that came up, authenticated") \
  ROW(replica_link_closed_here, "links", "links ended: closed here") \
  ROW(replica_link_closed_by_peer, "links", "links ended: closed by the peer") \
  ROW(replica_link_unreachable, "links", "links ended: retries exceeded, or nothing answered") \
  ROW(replica_link_receiver_not_ready, "links", "links ended: the peer had no receive posted") \
  ROW(replica_link_protection_error, "links", "links ended: a write beyond what was granted, ours or theirs") \
  ROW(replica_link_device_error, "links", "links ended: the device, or its port, is gone") \
  ROW(replica_link_malformed, "links", "links ended: bytes that are no record of the TCP stand-in") \
  ROW(replica_transport_pauses, "events", "times that a transport to a peer was paused: three link errors in 10 s") \
  ROW(replica_closed_in_order, "links", "closed by us: a duplicate, an older epoch's, or at the end") \
  ROW(replica_closed_silent, "links", "closed by us: nothing was heard of the peer for too long") \
  ROW(replica_closed_handshake_late, "links", "closed by us: the peer did not authenticate in time") \
  ROW(replica_closed_too_many, "links", "closed by us: too many links that were not authenticated, or too many peers") \
  ROW(replica_frames_sent, "frames", "control frames sent") \
  ROW(replica_frames_received, "frames", "control frames received") \
  ROW(replica_refused_frame_magic, "frames", "refused: not a frame of sluice") \
  ROW(replica_refused_frame_version, "frames", "refused: another version of the protocol") \
  ROW(replica_refused_frame_checksum, "frames", "refused: wrong checksum, or a tag of another key") \
  ROW(replica_refused_frame_reserved, "frames", "refused: reserved bytes that are not zero") \
  ROW(replica_refused_frame_kind, "frames", "refused: of an unknown kind") \
  ROW(replica_refused_frame_body, "frames", "refused: malformed") \
  ROW(replica_refused_frame_number, "frames", "refused: repeated, or one before it is missing") \
  ROW(replica_refused_frame_early, "frames", "refused: before authentication") \
  ROW(replica_refused_frame_late, "frames", "refused: a handshake after authentication") \
  ROW(replica_refused_frame_credit, "frames", "refused: beyond the credit, or credit for what was not sent") \
  ROW(replica_refused_peer_role, "peers", "refused: its role or transport does not fit the link") \
  ROW(replica_refused_peer_chunk_size, "peers", "refused: its chunks have another size") \
  ROW(replica_refused_peer_epoch, "peers", "refused: an older start of the node") \
  ROW(replica_refused_peer_own_id, "peers", "refused: it has our own id, or none") \
  ROW(replica_refused_peer_proof, "peers", "refused: it has not our cluster key") \
  ROW(replica_refused_peer_small_writes, "peers", "refused: the transport cannot write a whole chunk at once") \
  ROW(replica_records_sent, "records", "records sent to peers") \
  ROW(replica_records_received, "records", "records received from peers, and taken") \
  ROW(replica_refused_record_parts, "records", "refused: parts that do not fit each other") \
  ROW(replica_refused_record_length, "records", "refused: truncated, or of a wrong length") \
  ROW(replica_refused_record_kind, "records", "refused: of an unknown kind") \
  ROW(replica_refused_record_path, "records", "refused: an impossible path") \
  ROW(replica_refused_record_digest, "records", "refused: the digest is not that of the contents") \
  ROW(replica_refused_record_value, "records", "refused: an impossible value") \
  ROW(replica_fetches, "pieces", "pieces that the store asked for") \
  ROW(replica_fetched, "pieces", "pieces that came, verified") \
  ROW(replica_fetches_failed, "pieces", "pieces that no peer and no disk could give") \
  ROW(replica_fetch_retries, "pieces", "times that a piece was asked for once more, anywhere") \
  ROW(replica_wants_sent, "pieces", "pieces asked of peers") \
  ROW(replica_wants_refused_by_peer, "pieces", "of those, the ones that the peer refused") \
  ROW(replica_wants_late, "pieces", "of those, the ones that did not come in time and were cancelled") \
  ROW(replica_rdma_waits, "pieces", "of those wanted, the ones that waited for a link over RDMA that was due") \
  ROW(replica_landed_rdma_bytes, "bytes", "content that peers wrote into the arena over RDMA, and that was taken") \
  ROW(replica_landed_tcp_bytes, "bytes", "content that peers wrote into the arena over TCP, and that was taken") \
  ROW(replica_landed_unexpected, "writes", "writes of peers that nobody waited for, or of another length") \
  ROW(replica_disk_pieces, "pieces", "pieces asked of this node's own file") \
  ROW(replica_disk_errors, "pieces", "of those, the ones that could not be read") \
  ROW(replica_disk_checksum_failures, "pieces", "of those, the ones that were other bytes than were published") \
  ROW(replica_checksum_failures, "pieces", "pieces that a peer wrote with other bytes than were published") \
  ROW(replica_sources_dropped, "sources", "peers given up for a generation: three wrong checksums") \
  ROW(replica_fences, "grants", "grants revoked before the memory was used or given back") \
  ROW(replica_fences_by_link_end, "grants", "grants that ended with their link") \
  ROW(replica_copied_bytes, "bytes", "content that came or went by another way than straight into or out of its place in the arena, by the addresses that the kernel or the device was given") \
  ROW(replica_placed_bytes, "bytes", "content that the kernel or the device put straight to its place in the arena") \
  ROW(replica_taken_bytes, "bytes", "content that the kernel or the device took straight from its place in the arena") \
  ROW(replica_rdma_devices, "devices", "RDMA devices in use (gauge)") \
  ROW(replica_wants_received, "pieces", "pieces that peers asked for") \
  ROW(replica_wants_waited, "pieces", "of those, the ones that were not there yet") \
  ROW(replica_written_rdma_bytes, "bytes", "content written to peers over RDMA, from the arena") \
  ROW(replica_written_tcp_bytes, "bytes", "content written to peers over TCP, from the arena") \
  ROW(replica_refused_wants_open, "wants", "refused, and the link closed: more than may be open, or open already") \
  ROW(replica_refused_want_generation, "wants", "refused: a generation that is not known") \
  ROW(replica_refused_want_not_held, "wants", "refused: a generation that is not held here") \
  ROW(replica_refused_want_piece, "wants", "refused: a piece beyond the end, or of another length") \
  ROW(replica_refused_want_window, "wants", "refused: a window that does not fit") \
  ROW(replica_refused_want_circular, "wants", "refused: this node waits for that piece from the one that asks") \
  ROW(replica_refused_want_busy, "wants", "refused: the table is full, or it took too long") \
  ROW(replica_refused_want_failed, "wants", "refused: the piece cannot be read here") \
  ROW(replica_wants_cancelled, "wants", "taken back by the peer before they were answered") \
  ROW(replica_throttle_waits, "times", "times that a write waited for the rate or the share") \
  ROW(replica_bad_pieces_told, "pieces", "peers that said that what came from here was wrong") \
  ROW(replica_ingested_bytes, "bytes", "content read and summed for publication") \
  ROW(replica_held_pieces, "pieces", "pieces held for generations (gauge)") \
  ROW(replica_held_bytes, "bytes", "bytes of them (gauge)") \
  ROW(replica_pinned_bytes, "bytes", "chunks pinned for them: what short pieces share is pinned whole (gauge)") \
  ROW(replica_superseded_kept, "generations", "superseded generations kept for those who read them still (gauge)") \
  ROW(replica_superseded_cut, "generations", "of those, the ones given up though they may be read still: for room, or after the longest time") \
  ROW(replica_publications_unchanged, "publications", "of files that are published already, with the same bytes and as many copies") \
  ROW(replica_holds_lost, "pieces", "held pieces that the store took back, or that were rotten") \
  ROW(replica_degraded, "generations", "current generations with fewer verified copies than asked for (gauge)") \
  ROW(replica_holds_failed, "generations", "generations that could not be held: no room, or no source") \
  ROW(replica_scrubbed_bytes, "bytes", "held content summed again") \
  ROW(replica_scrub_rotten, "pieces", "held pieces found with other bytes than were published")

// The registry in etcd, as this node sees it.
#define SLUICE_COUNTERS_CLUSTER(ROW) \
  ROW(cluster_requests, "requests", "requests to etcd") \
  ROW(cluster_conflicts, "requests", "requests that others were faster with: decided anew") \
  ROW(cluster_unavailable, "requests", "requests that etcd did not answer in time, or could not carry out") \
  ROW(cluster_connections_lost, "connections", "connections to etcd that were given up: the next endpoint is tried") \
  ROW(cluster_fenced, "leases", "leases lost: others may have counted this node as gone") \
  ROW(cluster_reads_of_all, "reads", "times that everything was read: at the start, and where a watch could not go on") \
  ROW(cluster_foreign, "keys", "keys below ours, or values, that are not as ours are: ignored")

#define SLUICE_COUNTERS_NIC(ROW) \
  ROW(nic_payload_copied_bytes, "bytes", "payload bytes copied between arena and driver (0 where the driver takes chained mbufs)") \
  ROW(nic_rx_device_checksums, "frames", "received frames whose TCP or UDP checksum the device vouched for: not summed again") \
  ROW(nic_tx_device_checksums, "frames", "frames sent whose TCP checksum was left to the device, those of trains it cut included") \
  ROW(nic_tx_device_trains, "trains", "trains that the device cut into frames (TCP segmentation offload)") \
  ROW(nic_far_bytes, "bytes", "bytes of frames that crossed NUMA nodes: the worker's core, or the memory they were sent from, is not on the port's") \
  ROW(nic_rx_handed_over, "frames", "received frames handed to another worker (a neighbour frame counts once for each)") \
  ROW(nic_drop_rx_handover_full, "frames", "dropped: the other worker's inbox was full") \
  ROW(nic_drop_rx_chained, "frames", "dropped: the driver delivered a frame in pieces too large for one buffer") \
  ROW(nic_tx_stalls, "bursts", "tx bursts of which the device took only a part; the rest waited") \
  ROW(nic_tx_no_mbuf, "times", "cutting a train waited for packet buffers") \
  ROW(nic_drop_tx_oversize, "frames", "dropped: a frame to be sent was longer than the port's MTU allows") \
  ROW(nic_drop_tx_refused, "frames", "dropped: the driver refused the frame's offloads (tx_prepare)")

#define SLUICE_COUNTERS_WORKER(ROW) \
  ROW(worker_turns, "turns", "turns of the worker loop") \
  ROW(worker_busy_turns, "turns", "turns of the worker loop that found work") \
  ROW(worker_busy_ns, "nanoseconds", "time of the turns that found work") \
  ROW(worker_sleeps, "sleeps", "times an idle worker gave its core back (adaptive polling)") \
  ROW(worker_long_turns, "turns", "turns that took more than a millisecond: the worker was held up") \
  ROW(worker_mailbox_full, "turns", "turns in which the ring to the store was full: messages waited in the engine") \
  ROW(worker_tx_stalls, "turns", "turns in which the device took no more frames while the engine had some")

// Moment's values, written by the worker loop ten times a second.
#define SLUICE_COUNTERS_NOW(ROW) \
  ROW(tcp_stalled, "connections", "connections whose peer keeps its window closed (gauge)") \
  ROW(tcp_send_queues, "queues", "connections with something not acknowledged (gauge)") \
  ROW(tcp_receive_buffers, "buffers", "connections with an incomplete request or bytes out of order (gauge)") \
  ROW(head_slots_used, "slots", "head slots in use (gauge)") \
  ROW(objects_used, "objects", "file versions that a response is using (gauge)") \
  ROW(lookups_open, "lookups", "questions for a path that the store has not answered (gauge)") \
  ROW(neighbors_known, "neighbors", "entries of the neighbor cache (gauge)") \
  ROW(nic_pins, "pins", "pins on chunks and head slots (gauge)") \
  ROW(nic_frames_in_flight, "frames", "frames and trains that the device has not completed (gauge)")

// The order of the layers: that of the enumeration, of every listing and of the documentation.
#define SLUICE_COUNTERS(ROW) \
  SLUICE_COUNTERS_WIRE(ROW) \
  SLUICE_COUNTERS_INET(ROW) \
  SLUICE_COUNTERS_TCP(ROW) \
  SLUICE_COUNTERS_HTTP(ROW) \
  SLUICE_COUNTERS_ENGINE(ROW) \
  SLUICE_COUNTERS_STORE(ROW) \
  SLUICE_COUNTERS_REPLICA(ROW) \
  SLUICE_COUNTERS_CLUSTER(ROW) \
  SLUICE_COUNTERS_NIC(ROW) \
  SLUICE_COUNTERS_WORKER(ROW) \
  SLUICE_COUNTERS_NOW(ROW)

#define SLUICE_COUNTER_LAYERS(LAYER) \
  LAYER("wire", SLUICE_COUNTERS_WIRE) \
  LAYER("inet", SLUICE_COUNTERS_INET) \
  LAYER("tcp", SLUICE_COUNTERS_TCP) \
  LAYER("http", SLUICE_COUNTERS_HTTP) \
  LAYER("engine", SLUICE_COUNTERS_ENGINE) \
  LAYER("store", SLUICE_COUNTERS_STORE) \
  LAYER("replica", SLUICE_COUNTERS_REPLICA) \
  LAYER("cluster", SLUICE_COUNTERS_CLUSTER) \
  LAYER("nic", SLUICE_COUNTERS_NIC) \
  LAYER("worker", SLUICE_COUNTERS_WORKER) \
  LAYER("now", SLUICE_COUNTERS_NOW)

// clang-format on
