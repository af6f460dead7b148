/* A forwarder in C that does the relay's work for media, as a peer to measure against.
 *
 *     forward_c --mode batched|plain --listen IP:PORT --inner IP:PORT --next IP:PORT
 *               --nexts N --connect 0|1 --segment no|runs|sorted
 *
 * Toward the transceiver: the client's address is looked up in a hash table, the 38 bytes of the
 * leg are put in front of the payload, and it goes to the flow's next hop. Back: the header is
 * parsed, the client must be known, the header comes off, and the payload goes to the client.
 *
 * It has less to do than the relay, which makes it the harder peer: IPv4 only, a flow is made by
 * any first packet of an address, and nothing is verified, counted or forgotten. Its inner socket is
 * connected (--connect 1) or not, as that of the relay it is compared with.
 *
 * Flows are shared out over N next hops, with addresses one after the other. With --segment the
 * packets of a batch that go to one next hop and are equally long share a message, the last of which
 * may be shorter, and the kernel cuts them apart: as they come (runs), or brought together by their
 * lengths first (sorted), but never so that one flow's packets change places. When it is told to
 * end it says how many packets it sent in how many messages.
 */

#define _GNU_SOURCE
#include "common.h"

#include <netinet/udp.h>
#include <signal.h>
#include <sys/epoll.h>

enum { SLOTS = 1 << 18, ROOM = 2112, ROUNDS = 4 };

struct flow {
    uint64_t key;
    struct sockaddr_in client, next;
    unsigned char header[HEADER];
    unsigned length; /* of its last packet, which was in that section */
    uint64_t section;
};

static struct flow *flows;
static size_t known;
static uint64_t packets_sent, messages_sent;
static struct sockaddr_in proxy, next_hop;
static unsigned next_hops;
static int connected;

static uint64_t key_of(struct sockaddr_in address)
{
    return (uint64_t)address.sin_addr.s_addr << 16 | address.sin_port;
}

static struct flow *find(uint64_t key)
{
    size_t at = (key * 0x9e3779b97f4a7c15u) >> 46;
    while (flows[at].key && flows[at].key != key)
        at = (at + 1) & (SLOTS - 1);
    return &flows[at];
}

static struct flow *find_or_make(struct sockaddr_in client)
{
    struct flow *flow = find(key_of(client));
    if (flow->key || known >= SLOTS / 2)
        return flow->key ? flow : NULL;
    known++;
    flow->key = key_of(client);
    flow->client = client;
    flow->next = next_hop;
    flow->next.sin_addr.s_addr = htonl(ntohl(next_hop.sin_addr.s_addr) + known % next_hops);
    write_header(flow->header, client, proxy);
    return flow;
}

/* The flow that a packet from the transceiver is for, NULL if it is for nobody. */
static struct flow *addressee(const unsigned char *data, size_t length)
{
    struct sockaddr_in client = {.sin_family = AF_INET};
    if (length < HEADER || data[0] != 0x56 || data[1] != 0xec)
        return NULL;
    memcpy(&client.sin_addr, data + CLIENT_IP, 4);
    memcpy(&client.sin_port, data + CLIENT_PORT, 2);
    struct flow *flow = find(key_of(client));
    return flow->key ? flow : NULL;
}

/* Batched */

static unsigned char *rooms;
static struct sockaddr_in names[BATCH];
static struct iovec receive_iov[BATCH], send_iov[BATCH];
static struct mmsghdr receive_msg[BATCH], send_msg[BATCH];

static void prepare(void)
{
    rooms = malloc((size_t)BATCH * ROOM);
    if (!rooms)
        die("malloc");
    for (int i = 0; i < BATCH; i++) {
        receive_iov[i].iov_base = rooms + (size_t)i * ROOM + HEADER;
        receive_iov[i].iov_len = ROOM - HEADER;
        receive_msg[i].msg_hdr = (struct msghdr){
            .msg_name = &names[i],
            .msg_namelen = sizeof names[i],
            .msg_iov = &receive_iov[i],
            .msg_iovlen = 1,
        };
        send_msg[i].msg_hdr = (struct msghdr){.msg_iov = &send_iov[i], .msg_iovlen = 1};
    }
}

static void send_messages(int fd, struct mmsghdr *messages, int count)
{
    for (int done = 0; done < count;) {
        int sent = sendmmsg(fd, messages + done, (unsigned)(count - done), 0);
        done += sent > 0 ? sent : 1;
    }
    messages_sent += (uint64_t)count;
}

static void send_all(int fd, int count)
{
    send_messages(fd, send_msg, count);
    packets_sent += (uint64_t)count;
}

static int batch_up(int from, int to)
{
    int count = recvmmsg(from, receive_msg, BATCH, 0, NULL), out = 0;
    for (int i = 0; i < count; i++) {
        struct flow *flow = find_or_make(names[i]);
        receive_msg[i].msg_hdr.msg_namelen = sizeof names[i];
        if (!flow)
            continue;
        unsigned char *start = (unsigned char *)receive_iov[i].iov_base - HEADER;
        memcpy(start, flow->header, HEADER);
        send_iov[out].iov_base = start;
        send_iov[out].iov_len = receive_msg[i].msg_len + HEADER;
        send_msg[out].msg_hdr.msg_name = connected ? NULL : &flow->next;
        send_msg[out++].msg_hdr.msg_namelen = connected ? 0 : sizeof flow->next;
    }
    send_all(to, out);
    return count;
}

static int batch_down(int from, int to)
{
    int count = recvmmsg(from, receive_msg, BATCH, 0, NULL), out = 0;
    for (int i = 0; i < count; i++) {
        unsigned char *start = receive_iov[i].iov_base;
        struct flow *flow = addressee(start, receive_msg[i].msg_len);
        receive_msg[i].msg_hdr.msg_namelen = sizeof names[i];
        if (!flow)
            continue;
        send_iov[out].iov_base = start + HEADER;
        send_iov[out].iov_len = receive_msg[i].msg_len - HEADER;
        send_msg[out].msg_hdr.msg_name = &flow->client;
        send_msg[out++].msg_hdr.msg_namelen = sizeof flow->client;
    }
    send_all(to, out);
    return count;
}

/* Segmented */

struct outgoing {
    struct iovec iov;
    struct sockaddr_in *next;
};

static enum { NO, RUNS, SORTED } segment;
static uint64_t section = 1;
static struct outgoing outgoing[BATCH];
static struct mmsghdr segment_msg[BATCH];
static union {
    char room[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr align;
} control[BATCH];

/* By next hop, then the longest first; what is equal keeps its order. */
static int goes_before(const struct outgoing *left, const struct outgoing *right)
{
    if (left->next->sin_addr.s_addr != right->next->sin_addr.s_addr)
        return left->next->sin_addr.s_addr < right->next->sin_addr.s_addr;
    return left->iov.iov_len > right->iov.iov_len;
}

static void sort(int count)
{
    for (int i = 1; i < count; i++) {
        struct outgoing moving = outgoing[i];
        int at = i;
        for (; at > 0 && goes_before(&moving, &outgoing[at - 1]); at--)
            outgoing[at] = outgoing[at - 1];
        outgoing[at] = moving;
    }
}

static void set_segment(int message, uint16_t length, size_t packets)
{
    struct msghdr *header = &segment_msg[message].msg_hdr;
    header->msg_iovlen = packets;
    header->msg_control = packets > 1 ? control[message].room : NULL;
    header->msg_controllen = packets > 1 ? sizeof control[message].room : 0;
    if (packets < 2)
        return;
    struct cmsghdr *first = CMSG_FIRSTHDR(header);
    *first = (struct cmsghdr){
        .cmsg_level = SOL_UDP,
        .cmsg_type = UDP_SEGMENT,
        .cmsg_len = CMSG_LEN(sizeof length),
    };
    memcpy(CMSG_DATA(first), &length, sizeof length);
}

static void send_segmented(int fd, int count)
{
    int messages = 0;
    if (segment == SORTED)
        sort(count);
    for (int i = 0; i < count; messages++) {
        int first = i;
        size_t length = outgoing[i].iov.iov_len;
        struct sockaddr_in *next = outgoing[i].next;
        for (int open = 1; open && i < count; i++) {
            if (outgoing[i].iov.iov_len > length ||
                outgoing[i].next->sin_addr.s_addr != next->sin_addr.s_addr)
                break;
            send_iov[i] = outgoing[i].iov;
            open = outgoing[i].iov.iov_len == length;
        }
        struct msghdr *header = &segment_msg[messages].msg_hdr;
        header->msg_iov = &send_iov[first];
        header->msg_name = connected ? NULL : next;
        header->msg_namelen = connected ? 0 : sizeof *next;
        set_segment(messages, (uint16_t)length, (size_t)(i - first));
    }
    send_messages(fd, segment_msg, messages);
    packets_sent += (uint64_t)count;
    section++;
}

static int segmented_up(int from, int to)
{
    int count = recvmmsg(from, receive_msg, BATCH, 0, NULL), out = 0;
    for (int i = 0; i < count; i++) {
        struct flow *flow = find_or_make(names[i]);
        receive_msg[i].msg_hdr.msg_namelen = sizeof names[i];
        if (!flow)
            continue;
        unsigned length = receive_msg[i].msg_len + HEADER;
        if (segment == SORTED && flow->section == section && flow->length < length) {
            send_segmented(to, out);
            out = 0;
        }
        flow->section = section;
        flow->length = length;
        unsigned char *start = (unsigned char *)receive_iov[i].iov_base - HEADER;
        memcpy(start, flow->header, HEADER);
        outgoing[out++] = (struct outgoing){{start, length}, &flow->next};
    }
    if (out)
        send_segmented(to, out);
    return count;
}

/* Plain: one system call per packet and direction */

static int plain_up(int from, int to)
{
    static unsigned char room[ROOM];
    struct sockaddr_in client;
    socklen_t length = sizeof client;
    ssize_t got = recvfrom(from, room + HEADER, ROOM - HEADER, 0, (struct sockaddr *)&client,
                           &length);
    if (got < 0)
        return -1;
    struct flow *flow = find_or_make(client);
    if (flow) {
        memcpy(room, flow->header, HEADER);
        sendto(to, room, (size_t)got + HEADER, 0,
               connected ? NULL : (struct sockaddr *)&flow->next,
               connected ? 0 : sizeof flow->next);
    }
    return 1;
}

static int plain_down(int from, int to)
{
    static unsigned char room[ROOM];
    struct sockaddr_in sender;
    socklen_t length = sizeof sender;
    ssize_t got = recvfrom(from, room, ROOM, 0, (struct sockaddr *)&sender, &length);
    if (got < 0)
        return -1;
    struct flow *flow = addressee(room, (size_t)got);
    if (flow)
        sendto(to, room + HEADER, (size_t)got - HEADER, 0, (struct sockaddr *)&flow->client,
               sizeof flow->client);
    return 1;
}

/* Empty one socket, but give the other its turn after some. */
static void serve(int (*step)(int, int), int from, int to, int rounds, int full)
{
    while (rounds-- > 0 && step(from, to) == full)
        ;
}

static volatile sig_atomic_t ended;

static void end(int signal)
{
    ended = signal;
}

static void say_started(int public, int inner)
{
    struct sockaddr_in outside = bound_to(public), inside = bound_to(inner);
    char first[INET_ADDRSTRLEN], second[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &outside.sin_addr, first, sizeof first);
    inet_ntop(AF_INET, &inside.sin_addr, second, sizeof second);
    printf("{\"event\": \"started\", \"listen\": [\"%s:%d\"], \"inner\": \"%s:%d\"}\n", first,
           ntohs(outside.sin_port), second, ntohs(inside.sin_port));
    fflush(stdout);
}

int main(int count, char **words)
{
    int batched = strcmp(option(count, words, "--mode", "batched"), "batched") == 0;
    int public = open_udp(parse_address(option(count, words, "--listen", "127.0.0.1:0")));
    int inner = open_udp(parse_address(option(count, words, "--inner", "127.0.0.1:0")));
    set_buffer(public, SO_RCVBUFFORCE, SO_RCVBUF, BUFFER);
    set_buffer(inner, SO_RCVBUFFORCE, SO_RCVBUF, BUFFER);
    next_hop = parse_address(option(count, words, "--next", "127.0.0.1:9"));
    connected = atoi(option(count, words, "--connect", "0"));
    next_hops = (unsigned)atoi(option(count, words, "--nexts", "1"));
    const char *how = option(count, words, "--segment", "no");
    segment = strcmp(how, "runs") == 0 ? RUNS : strcmp(how, "sorted") == 0 ? SORTED : NO;
    if (connected && connect(inner, (struct sockaddr *)&next_hop, sizeof next_hop) < 0)
        die("connect");
    proxy = bound_to(public);
    flows = calloc(SLOTS, sizeof *flows);
    if (!flows)
        die("calloc");
    prepare();
    int (*up)(int, int) = segment == NO ? batch_up : segmented_up;

    int waiting = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event above = {.events = EPOLLIN, .data.fd = public};
    struct epoll_event below = {.events = EPOLLIN, .data.fd = inner};
    epoll_ctl(waiting, EPOLL_CTL_ADD, public, &above);
    epoll_ctl(waiting, EPOLL_CTL_ADD, inner, &below);
    struct sigaction ending = {.sa_handler = end};
    sigaction(SIGTERM, &ending, NULL);
    say_started(public, inner);
    while (!ended) {
        struct epoll_event events[2];
        int ready = epoll_wait(waiting, events, 2, -1);
        for (int i = 0; i < ready; i++) {
            int outside = events[i].data.fd == public;
            int from = outside ? public : inner, to = outside ? inner : public;
            if (batched)
                serve(outside ? up : batch_down, from, to, ROUNDS, BATCH);
            else
                serve(outside ? plain_up : plain_down, from, to, ROUNDS * BATCH, 1);
        }
    }
    printf("{\"packets\": %llu, \"messages\": %llu}\n", (unsigned long long)packets_sent,
           (unsigned long long)messages_sent);
    return 0;
}
