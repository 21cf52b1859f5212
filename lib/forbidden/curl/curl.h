#error "a pure library does no I/O: <curl/curl.h> belongs to an edge"
