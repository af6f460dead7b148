/* What the forwarder and the generator share: addresses, options, sockets, the leg's header. */

#ifndef COMMON_H
#define COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, HEADER = 38, BUFFER = 4 << 20 };

/* Magic 0x56EC, client and proxy address (16 bytes each, IPv4 mapped), client and proxy port. */
enum { CLIENT_IP = 14, PROXY_IP = 30, CLIENT_PORT = 34, PROXY_PORT = 36 };

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline struct sockaddr_in parse_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : sizeof host;
    if (length >= sizeof host) {
        fprintf(stderr, "%s is not IP:PORT\n", text);
        exit(2);
    }
    memcpy(host, text, length);
    host[length] = 0;
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "%s is not an IPv4 address\n", host);
        exit(2);
    }
    return address;
}

/* As root past the limit of the system, so that it is not the kernel's default that is measured. */
static inline void set_buffer(int fd, int forced, int plain, int size)
{
    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, plain, &size, sizeof size);
}

static inline int open_udp(struct sockaddr_in address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    return fd;
}

static inline struct sockaddr_in bound_to(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    return address;
}

static inline void write_header(unsigned char *at, struct sockaddr_in client,
                                struct sockaddr_in proxy)
{
    memset(at, 0, HEADER);
    at[0] = 0x56;
    at[1] = 0xec;
    at[CLIENT_IP - 2] = at[CLIENT_IP - 1] = at[PROXY_IP - 2] = at[PROXY_IP - 1] = 0xff;
    memcpy(at + CLIENT_IP, &client.sin_addr, 4);
    memcpy(at + PROXY_IP, &proxy.sin_addr, 4);
    memcpy(at + CLIENT_PORT, &client.sin_port, 2);
    memcpy(at + PROXY_PORT, &proxy.sin_port, 2);
}

static inline const char *option(int count, char **words, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < count; i++)
        if (strcmp(words[i], name) == 0)
            return words[i + 1];
    return otherwise;
}

#endif
