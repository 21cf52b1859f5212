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
  ROW(inet_drop_not_for_us, "frames", "dropped: destination is none of our addresses")

#define SLUICE_COUNTERS_TCP(ROW) \
  ROW(tcp_segments_received, "segments", "TCP segments received with a valid checksum") \
  ROW(tcp_segments_sent, "segments", "TCP segments described for sending (a train counts once)")

#define SLUICE_COUNTERS_HTTP(ROW) \
  ROW(http_requests, "requests", "requests parsed whole") \
  ROW(http_responses, "responses", "responses begun")

#define SLUICE_COUNTERS_ENGINE(ROW) \
  ROW(engine_body_bytes, "bytes", "response body bytes acknowledged by clients") \
  ROW(catalog_pieces_missed, "pieces", "pieces that a response needed and that were not in the arena") \
  ROW(catalog_pieces_prefetched, "pieces", "pieces asked for by read-ahead") \
  ROW(catalog_leases_revoked, "leases", "pieces taken from a connection in the middle of sending them")

#define SLUICE_COUNTERS_STORE(ROW) \
  ROW(store_lookups, "lookups", "path lookups asked of the store")

#define SLUICE_COUNTERS_NIC(ROW) \
  ROW(nic_payload_copied_bytes, "bytes", "payload bytes copied between arena and driver (0 where the driver takes chained mbufs)")

#define SLUICE_COUNTERS_WORKER(ROW) \
  ROW(worker_turns, "turns", "turns of the worker loop") \
  ROW(worker_busy_turns, "turns", "turns of the worker loop that found work") \
  ROW(worker_busy_ns, "nanoseconds", "time of the turns that found work")

#define SLUICE_COUNTERS(ROW) \
  SLUICE_COUNTERS_WIRE(ROW) \
  SLUICE_COUNTERS_INET(ROW) \
  SLUICE_COUNTERS_TCP(ROW) \
  SLUICE_COUNTERS_HTTP(ROW) \
  SLUICE_COUNTERS_ENGINE(ROW) \
  SLUICE_COUNTERS_STORE(ROW) \
  SLUICE_COUNTERS_NIC(ROW) \
  SLUICE_COUNTERS_WORKER(ROW)

// clang-format on
