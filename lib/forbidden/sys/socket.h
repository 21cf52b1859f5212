#error "a pure library does no I/O: <sys/socket.h> belongs to an edge"
