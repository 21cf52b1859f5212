#error "a pure library has no outside dependency: <isa-l/crc.h> belongs to an edge"
