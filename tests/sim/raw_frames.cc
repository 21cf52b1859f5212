#include "raw_frames.h"

#include <algorithm>
#include <cstring>

namespace sluice::sim {

HostAddress make_host(bool ipv6, uint8_t last) {
  HostAddress address;
  address.is_ipv6 = ipv6;
  address.mac = {2, 0, 0, 0, 0, last};
  if (ipv6) {
    address.ip[0] = 0xfd;
  } else {
    address.ip[12] = 10;
  }
  address.ip[15] = last;
  return address;
}

uint32_t sum16(const uint8_t* p, size_t n, uint32_t sum) {
  for (size_t i = 0; i + 1 < n; i += 2) {
    sum += get16(p + i);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  if (n % 2 == 1) sum += uint32_t{p[n - 1]} << 8;
  return (sum & 0xffff) + (sum >> 16);
}
uint16_t finish(uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}
uint16_t transport_checksum(const uint8_t* ip, bool is_ipv6, uint8_t protocol, const uint8_t* l4,
                            size_t l4_bytes) {
  uint32_t sum = is_ipv6 ? sum16(ip + 8, 32, 0) : sum16(ip + 12, 8, 0);
  sum += protocol + static_cast<uint32_t>(l4_bytes);
  return finish(sum16(l4, l4_bytes, sum));
}

bool parse_tcp(const HostAddress& self, const HostAddress& server, const Frame& frame,
               ParsedTcp& out, std::vector<std::string>& violations) {
  if (frame.size() < 14 + 20) return false;
  const uint16_t type = get16(frame.data() + 12);
  const uint8_t* ip = frame.data() + 14;
  const size_t ip_bytes = frame.size() - 14;
  size_t header = 0, total = 0;
  if (!self.is_ipv6 && type == 0x0800) {
    header = size_t{ip[0] & 15u} * 4;
    total = get16(ip + 2);
    if (ip[9] != 6 || std::memcmp(ip + 12, server.ip.data() + 12, 4) != 0 ||
        std::memcmp(ip + 16, self.ip.data() + 12, 4) != 0) {
      return false;
    }
    if (header < 20 || header > ip_bytes || finish(sum16(ip, header, 0)) != 0) {
      violations.emplace_back("bad IPv4 header");
      return false;
    }
  } else if (self.is_ipv6 && type == 0x86dd && ip_bytes >= 40) {
    header = 40;
    total = 40u + get16(ip + 4);
    if (ip[6] != 6 || std::memcmp(ip + 8, server.ip.data(), 16) != 0 ||
        std::memcmp(ip + 24, self.ip.data(), 16) != 0) {
      return false;
    }
  } else {
    return false;
  }
  if (total > ip_bytes || total < header + 20) {
    violations.emplace_back("bad IP total length");
    return false;
  }
  out = {ip + header, total - header,
         static_cast<uint8_t>(self.is_ipv6 ? ip[1] >> 4 & 3 : ip[1] & 3)};
  if (transport_checksum(ip, self.is_ipv6, 6, out.tcp, out.tcp_bytes) != 0) {
    violations.emplace_back("bad TCP checksum");
    return false;
  }
  return true;
}

uint8_t* put_headers(const HostAddress& self, const HostAddress& server, size_t tcp_bytes,
                     Frame& frame) {
  std::copy(server.mac.begin(), server.mac.end(), frame.begin());
  std::copy(self.mac.begin(), self.mac.end(), frame.begin() + 6);
  put16(frame.data() + 12, self.is_ipv6 ? 0x86dd : 0x0800);
  uint8_t* ip = frame.data() + 14;
  if (self.is_ipv6) {
    ip[0] = 0x60;
    put16(ip + 4, static_cast<uint32_t>(tcp_bytes));
    ip[6] = 6;
    ip[7] = 64;
    std::memcpy(ip + 8, self.ip.data(), 16);
    std::memcpy(ip + 24, server.ip.data(), 16);
    return ip + 40;
  }
  ip[0] = 0x45;
  put16(ip + 2, static_cast<uint32_t>(20 + tcp_bytes));
  ip[6] = 0x40;
  ip[8] = 64;
  ip[9] = 6;
  std::memcpy(ip + 12, self.ip.data() + 12, 4);
  std::memcpy(ip + 16, server.ip.data() + 12, 4);
  put16(ip + 10, finish(sum16(ip, 20, 0)));
  return ip + 20;
}

bool answer_neighbor(const HostAddress& self, const Frame& frame, Frame& reply) {
  if (frame.size() < 42) return false;
  const uint16_t type = get16(frame.data() + 12);
  if (!self.is_ipv6 && type == 0x0806 && get16(frame.data() + 20) == 1 &&
      std::memcmp(frame.data() + 38, self.ip.data() + 12, 4) == 0) {
    reply.assign(frame.begin(), frame.begin() + 42);
    std::memcpy(reply.data(), frame.data() + 6, 6);
    std::memcpy(reply.data() + 6, self.mac.data(), 6);
    put16(reply.data() + 20, 2);
    std::memcpy(reply.data() + 22, self.mac.data(), 6);
    std::memcpy(reply.data() + 28, self.ip.data() + 12, 4);
    std::memcpy(reply.data() + 32, frame.data() + 22, 10);
    return true;
  }
  if (self.is_ipv6 && type == 0x86dd && frame.size() >= 14 + 40 + 24 && frame[20] == 58 &&
      frame[54] == 135 && std::memcmp(frame.data() + 62, self.ip.data(), 16) == 0) {
    reply.assign(14 + 40 + 32, 0);
    std::memcpy(reply.data(), frame.data() + 6, 6);
    std::memcpy(reply.data() + 6, self.mac.data(), 6);
    put16(reply.data() + 12, 0x86dd);
    uint8_t* ip = reply.data() + 14;
    ip[0] = 0x60;
    put16(ip + 4, 32);
    ip[6] = 58;
    ip[7] = 255;
    std::memcpy(ip + 8, self.ip.data(), 16);
    std::memcpy(ip + 24, frame.data() + 22, 16);
    uint8_t* icmp = ip + 40;
    icmp[0] = 136;
    icmp[4] = 0x60;  // solicited, override
    std::memcpy(icmp + 8, self.ip.data(), 16);
    icmp[24] = 2;
    icmp[25] = 1;
    std::memcpy(icmp + 26, self.mac.data(), 6);
    put16(icmp + 2, transport_checksum(ip, true, 58, icmp, 32));
    return true;
  }
  return false;
}

}  // namespace sluice::sim
