/* Sends packets through a forwarder and counts what comes out, on one core in one thread.
 *
 * It is both ends. The clients are many source addresses at one port: one socket bound to every
 * address, each packet with its source in IP_PKTINFO, so a batch of 64 is from 64 clients and ten
 * thousand clients cost no more than one. The transceiver is one socket at a fixed address. It
 * never sleeps while it measures: a sleeping sink would charge the forwarder for waking it.
 *
 *     generate --public IP:PORT --transceiver IP:PORT --clients IP:PORT --flows N --checks FILE
 *              --direction up|down|both|none --seconds S --rate R --window W --warm K --burst B
 *              --sizes FILE --hold 0|1 --flood FILE --flood-rate R --flood-clients IP:PORT --flood-sources N
 *              --flood-stride M --flood-burst B --pids P,P
 *
 * First every client's check is sent until all have come out at the transceiver; that is also how
 * it learns at which inner address each client's worker is. Then:
 *
 *     rate 0     as much as the forwarder takes: at most W packets are under way per direction, so
 *                it is always busy and its queue never overflows
 *     rate > 0   so many per second and direction, evenly spaced
 *     rate < 0   as much as this program can send
 *
 * With --hold 1, direction up and rate 0 the forwarder's processes are stopped while W packets are
 * sent, and go on when all lie in its receive buffer, so that it finds full batches even where this
 * program could not send so fast; what counts then is the forwarder's CPU time.
 *
 * With a file of sizes (two bytes each, little-endian) the packets toward the transceiver have these
 * lengths, one after the other and again from the first; they are then not sent in bursts.
 *
 * Without a forwarder, with the transceiver's address for the public one, it measures itself.
 * Files hold records: a length in two bytes, little-endian, then the packet, or as many packets of
 * one length as are sent in a burst. JSON on stdout.
 */

#define _GNU_SOURCE
#include "common.h"

#include <math.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

enum {
    ROOM = 4096,
    RTP = 12,
    STAMP = RTP,
    FLOW = STAMP + 8,
    RUN = FLOW + 4,
    SAMPLES = 1 << 21,
    STALL = 20000000,
    WARM = 50000000,
    HELD_UP = 500000,
    TRIES = 100,
};

typedef int64_t nanoseconds;

static nanoseconds clock_of(clockid_t clock)
{
    struct timespec at;
    if (clock_gettime(clock, &at) < 0)
        return 0;
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static nanoseconds now(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

/* A batch of messages, each with a source address of its own if it needs one. */

struct batch {
    unsigned char rooms[BATCH][ROOM];
    struct sockaddr_in names[BATCH];
    struct iovec iov[BATCH];
    union {
        char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
        struct cmsghdr align;
    } control[BATCH];
    struct mmsghdr messages[BATCH];
};

static struct batch *make_batch(void)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        die("calloc");
    for (int i = 0; i < BATCH; i++) {
        batch->iov[i] = (struct iovec){batch->rooms[i], ROOM};
        batch->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &batch->names[i],
            .msg_namelen = sizeof batch->names[i],
            .msg_iov = &batch->iov[i],
            .msg_iovlen = 1,
        };
    }
    return batch;
}

static void with_sources(struct batch *batch)
{
    for (int i = 0; i < BATCH; i++) {
        struct msghdr *header = &batch->messages[i].msg_hdr;
        header->msg_control = batch->control[i].room;
        header->msg_controllen = sizeof batch->control[i].room;
        struct cmsghdr *control = CMSG_FIRSTHDR(header);
        *control = (struct cmsghdr){
            .cmsg_level = IPPROTO_IP,
            .cmsg_type = IP_PKTINFO,
            .cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo)),
        };
    }
}

static void set_source(struct batch *batch, int i, uint32_t first, uint64_t number)
{
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(first + (uint32_t)number)};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&batch->messages[i].msg_hdr)), &info, sizeof info);
}

/* How many went; a message that the kernel refuses is passed over and not counted. */
static int send_batch(int fd, struct batch *batch, int count)
{
    int good = 0;
    for (int done = 0; done < count;) {
        int sent = sendmmsg(fd, batch->messages + done, (unsigned)(count - done), 0);
        good += sent > 0 ? sent : 0;
        done += sent > 0 ? sent : 1;
    }
    return good;
}

static int receive_batch(int fd, struct batch *batch)
{
    int count = recvmmsg(fd, batch->messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++)
        batch->messages[i].msg_hdr.msg_namelen = sizeof batch->names[i];
    return count > 0 ? count : 0;
}

/* Records of a file */

struct records {
    unsigned char **data;
    uint16_t *lengths;
    size_t count;
};

static struct records read_records(const char *path)
{
    struct records records = {0};
    if (!path)
        return records;
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    unsigned char prefix[2];
    while (fread(prefix, 1, 2, file) == 2) {
        size_t length = prefix[0] | (size_t)prefix[1] << 8;
        if ((records.count & (records.count - 1)) == 0) {
            size_t room = records.count ? 2 * records.count : 1;
            records.data = realloc(records.data, room * sizeof *records.data);
            records.lengths = realloc(records.lengths, room * sizeof *records.lengths);
        }
        if (!records.data || !records.lengths || length > ROOM)
            die("records");
        unsigned char *data = malloc(length ? length : 1);
        if (!data || fread(data, 1, length, file) != length)
            die("record");
        records.data[records.count] = data;
        records.lengths[records.count++] = (uint16_t)length;
    }
    fclose(file);
    return records;
}

static struct sizes {
    uint16_t *lengths;
    size_t count;
} sizes;

static void read_sizes(const char *path)
{
    FILE *file = path ? fopen(path, "rb") : NULL;
    unsigned char pair[2];
    if (!path)
        return;
    if (!file)
        die(path);
    sizes.lengths = calloc(1 << 16, sizeof *sizes.lengths);
    if (!sizes.lengths)
        die("calloc");
    while (sizes.count < 1 << 16 && fread(pair, 1, 2, file) == 2)
        sizes.lengths[sizes.count++] = (uint16_t)(pair[0] | pair[1] << 8);
    fclose(file);
}

/* What is measured */

struct stream {
    bool on;
    double rate;
    uint64_t sent, received, counted, began, written_off, next;
    uint64_t sent_before;
    nanoseconds heard;
    uint32_t *samples;
    size_t sampled;
};

static struct options {
    struct sockaddr_in public, transceiver, clients, flood_clients;
    uint64_t flows, window, warm, flood_sources, flood_stride;
    double seconds, rate, flood_rate;
    int length, burst, flood_burst, hold;
} options;

static int client_fd, transceiver_fd, flood_fd = -1;
static struct batch *up_batch, *down_batch, *flood_batch, *in_batch;
static struct sockaddr_in *inner_of;
static uint64_t known, check_sent, wrong;
static uint32_t run;
static struct stream up, down;
static struct stream flood;
static nanoseconds looped; /* when the loop last began a turn */
static bool counting;
static int leg = HEADER; /* 0 where there is no forwarder, to see what the method itself adds */

static void write_rtp(unsigned char *at)
{
    memset(at, 0x55, (size_t)options.length);
    memset(at, 0, RTP);
    at[0] = 0x80;
    at[1] = 96;
    memcpy(at + RUN, &run, 4);
}

static void stamp(unsigned char *rtp, uint64_t sequence, uint32_t flow, nanoseconds at)
{
    uint16_t number = htons((uint16_t)sequence);
    uint32_t source = htonl(flow + 1);
    memcpy(rtp + 2, &number, 2);
    memcpy(rtp + 8, &source, 4);
    memcpy(rtp + STAMP, &at, 8);
    memcpy(rtp + FLOW, &flow, 4);
}

static void prepare_batches(void)
{
    up_batch = make_batch();
    down_batch = make_batch();
    flood_batch = make_batch();
    in_batch = make_batch();
    with_sources(up_batch);
    with_sources(flood_batch);
    for (int i = 0; i < BATCH; i++) {
        up_batch->names[i] = flood_batch->names[i] = options.public;
        for (int j = 0; j < options.burst; j++) {
            write_rtp(up_batch->rooms[i] + j * options.length);
            write_rtp(down_batch->rooms[i] + j * (HEADER + options.length) + HEADER);
        }
    }
}

/* From here on a longer message is cut into packets, by the kernel and late: that halves the cost
 * of sending, and this program's core has to send and to receive what the forwarder's receives and
 * sends. */
static void set_segment(int fd, int length, int burst)
{
    if (burst > 1 && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &length, sizeof length) < 0)
        die("UDP_SEGMENT");
}

/* ``count`` packets in bursts; each burst is from one client. */
static void send_up(int count)
{
    nanoseconds at = now();
    int message = 0;
    for (int i = 0; i < count; message++) {
        uint32_t flow = (uint32_t)(up.next / (uint64_t)options.burst % options.flows);
        int packets = count - i < options.burst ? count - i : options.burst;
        int length = sizes.count ? sizes.lengths[up.next % sizes.count] : options.length;
        for (int j = 0; j < packets; j++, i++)
            stamp(up_batch->rooms[message] + j * length, up.next++, flow, at);
        up_batch->iov[message].iov_len = (size_t)(packets * length);
        set_source(up_batch, message, ntohl(options.clients.sin_addr.s_addr), flow);
    }
    send_batch(client_fd, up_batch, message);
    up.sent += (uint64_t)count;
}

/* The same to the clients: what is cut apart at one inner address may be for many of them. */
static void send_down(int count)
{
    nanoseconds at = now();
    int message = 0, length = HEADER + options.length;
    for (int i = 0; i < count; message++) {
        int packets = 0;
        for (; packets < options.burst && i < count; packets++, i++) {
            uint32_t flow = (uint32_t)(down.next % options.flows);
            struct sockaddr_in client = options.clients, inner = inner_of[flow];
            if (packets && inner.sin_port != down_batch->names[message].sin_port)
                break;
            down_batch->names[message] = inner;
            client.sin_addr.s_addr = htonl(ntohl(client.sin_addr.s_addr) + flow);
            unsigned char *start = down_batch->rooms[message] + packets * length;
            write_header(start, client, options.public);
            stamp(start + HEADER, down.next++, flow, at);
        }
        down_batch->iov[message].iov_len = (size_t)(packets * length);
    }
    send_batch(transceiver_fd, down_batch, message);
    down.sent += (uint64_t)count;
}

static struct records flood_records;

static void send_flood(int count)
{
    uint32_t first = ntohl(options.flood_clients.sin_addr.s_addr);
    count = count > options.flood_burst ? count / options.flood_burst : 1;
    for (int i = 0; i < count; i++) {
        size_t which = flood.next % flood_records.count;
        flood_batch->iov[i] =
            (struct iovec){flood_records.data[which], flood_records.lengths[which]};
        uint64_t source = flood.next++ % options.flood_sources;
        set_source(flood_batch, i, first, source * options.flood_stride);
    }
    flood.sent += (uint64_t)(send_batch(flood_fd, flood_batch, count) * options.flood_burst);
}

static void arrived(struct stream *stream, const unsigned char *rtp, nanoseconds at)
{
    uint32_t of_run;
    memcpy(&of_run, rtp + RUN, 4);
    if (of_run != run || rtp[0] != 0x80) {
        wrong += of_run == run;
        return;
    }
    stream->received++;
    stream->heard = at;
    /* What came while this program itself was held up says nothing of the forwarder. */
    if (counting && stream->samples && stream->sampled < SAMPLES && at - looped < HELD_UP) {
        nanoseconds sent;
        memcpy(&sent, rtp + STAMP, 8);
        stream->samples[stream->sampled++] = (uint32_t)(at - sent);
    }
}

/* A check at the transceiver tells where the client's worker is; a header with a client that is
 * none of ours would be a fault of the forwarder. */
static void learn(const unsigned char *data, struct sockaddr_in sender)
{
    uint32_t address;
    memcpy(&address, data + CLIENT_IP, 4);
    uint64_t flow = ntohl(address) - ntohl(options.clients.sin_addr.s_addr);
    if (flow >= options.flows || memcmp(data + CLIENT_PORT, &options.clients.sin_port, 2) != 0) {
        wrong++;
        return;
    }
    known += inner_of[flow].sin_port == 0;
    inner_of[flow] = sender;
}

static void drain_transceiver(void)
{
    int count = receive_batch(transceiver_fd, in_batch);
    nanoseconds at = count ? now() : 0;
    for (int i = 0; i < count; i++) {
        const unsigned char *data = in_batch->rooms[i];
        unsigned length = in_batch->messages[i].msg_len;
        if (length >= (unsigned)(leg + RUN + 4) && data[leg] == 0x80)
            arrived(&up, data + leg, at);
        else if (length > HEADER + 20 && data[HEADER] == 0 && known < options.flows)
            learn(data, in_batch->names[i]);
    }
}

static void drain_clients(void)
{
    int count = receive_batch(client_fd, in_batch);
    nanoseconds at = count ? now() : 0;
    for (int i = 0; i < count; i++)
        if (in_batch->messages[i].msg_len == (unsigned)options.length)
            arrived(&down, in_batch->rooms[i], at);
}

/* Every client's check, in order, until all have come out; who was lost on the way is sent again. */
static nanoseconds make_known(struct records checks)
{
    nanoseconds begin = now(), progress = begin;
    uint64_t next = 0, under_way = 0;
    for (int tries = 0; known < options.flows && tries < TRIES;) {
        int count = 0;
        uint64_t before = known;
        for (; count < BATCH && next < options.flows && under_way < options.window; next++) {
            if (inner_of[next].sin_port)
                continue;
            size_t which = next % checks.count;
            up_batch->iov[count] = (struct iovec){checks.data[which], checks.lengths[which]};
            set_source(up_batch, count++, ntohl(options.clients.sin_addr.s_addr), next);
            under_way++;
        }
        check_sent += (uint64_t)send_batch(client_fd, up_batch, count);
        drain_transceiver();
        under_way -= known - before < under_way ? known - before : under_way;
        nanoseconds at = now();
        if (known > before || count) {
            progress = at;
        } else if (at - progress > 2 * STALL) {
            next = under_way = 0;
            progress = at;
            tries++;
        }
    }
    for (int i = 0; i < BATCH; i++)
        up_batch->iov[i].iov_base = up_batch->rooms[i];
    return now() - begin;
}

static int due(struct stream *stream, nanoseconds at, nanoseconds begin)
{
    if (!stream->on)
        return 0;
    if (stream->rate < 0)
        return BATCH;
    if (stream->rate > 0) {
        double wanted = (double)(at - begin) * 1e-9 * stream->rate;
        double behind = wanted - (double)(stream->sent - stream->sent_before);
        return behind < 1 ? 0 : behind > BATCH ? BATCH : (int)behind;
    }
    uint64_t under_way = stream->sent - stream->received - stream->written_off;
    if ((int64_t)under_way < 0)
        under_way = 0;
    if (under_way + BATCH <= options.window)
        return BATCH;
    if (at - stream->heard > STALL) {
        stream->written_off += under_way;
        stream->heard = at;
    }
    return 0;
}

static void begin_streams(nanoseconds at, double rate)
{
    struct stream *all[] = {&up, &down, &flood};
    for (int i = 0; i < 3; i++) {
        all[i]->sent_before = all[i]->sent;
        all[i]->counted = all[i]->received;
        all[i]->began = all[i]->sent;
        all[i]->heard = at;
    }
    up.rate = down.rate = rate;
}

/* Until ``until`` or, if that is not zero, until every stream has sent ``packets``. */
static nanoseconds pump(nanoseconds until, uint64_t packets)
{
    nanoseconds begin = now(), at = begin;
    while (at < until) {
        int count = due(&up, at, begin);
        looped = at;
        if (count)
            send_up(count);
        drain_transceiver();
        count = due(&down, at, begin);
        if (count)
            send_down(count);
        drain_clients();
        if (counting && (count = due(&flood, at, begin)))
            send_flood(count);
        if (packets && (!up.on || up.sent >= packets) && (!down.on || down.sent >= packets))
            break;
        at = now();
    }
    return at - begin;
}

static void signal_all(const char *pids, int number)
{
    for (const char *at = pids; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        kill(atoi(at), number);
}

/* Windows of packets, each of which the forwarder finds whole. */
static nanoseconds pump_held(nanoseconds until, const char *pids)
{
    nanoseconds begin = now(), at = begin;
    while (at < until) {
        uint64_t arrived = up.received, packets = 0;
        signal_all(pids, SIGSTOP);
        for (; packets + BATCH <= options.window; packets += BATCH)
            send_up(BATCH);
        signal_all(pids, SIGCONT);
        up.heard = at = now();
        for (; up.received - arrived < packets && at - up.heard < STALL; at = now())
            drain_transceiver();
    }
    return at - begin;
}

/* What is still under way, so that it is counted and does not run into the next measurement. */
static void settle(void)
{
    nanoseconds last = now();
    up.heard = down.heard = last;
    for (nanoseconds at = last; at - last < 50000000; at = now()) {
        uint64_t before = up.received + down.received;
        drain_transceiver();
        drain_clients();
        if (up.received + down.received != before)
            last = at;
    }
}

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void print_stream(const char *name, struct stream *stream, uint64_t received)
{
    printf(", \"%s\": {\"sent\": %llu, \"received\": %llu", name,
           (unsigned long long)(stream->sent - stream->began), (unsigned long long)received);
    printf(", \"arrived\": %llu", (unsigned long long)(stream->received - stream->counted));
    if (stream->samples && stream->sampled) {
        size_t n = stream->sampled;
        qsort(stream->samples, n, sizeof *stream->samples, ascending);
        printf(", \"p50\": %u, \"p99\": %u, \"p999\": %u, \"max\": %u", stream->samples[n / 2],
               stream->samples[n * 99 / 100], stream->samples[n * 999 / 1000],
               stream->samples[n - 1]);
    }
    printf("}");
}

static nanoseconds cpu_of(const char *pids)
{
    nanoseconds total = 0;
    for (const char *at = pids; at && *at;) {
        clockid_t clock;
        if (clock_getcpuclockid(atoi(at), &clock) == 0)
            total += clock_of(clock);
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return total;
}

static uint64_t number(int count, char **words, const char *name, const char *otherwise)
{
    return strtoull(option(count, words, name, otherwise), NULL, 10);
}

static void read_options(int count, char **words)
{
    options.public = parse_address(option(count, words, "--public", "127.0.0.1:9"));
    options.transceiver = parse_address(option(count, words, "--transceiver", "127.0.0.1:0"));
    options.clients = parse_address(option(count, words, "--clients", "127.1.0.0:0"));
    options.flood_clients = parse_address(option(count, words, "--flood-clients", "127.64.0.0:0"));
    options.flows = number(count, words, "--flows", "100");
    options.window = number(count, words, "--window", "1024");
    options.warm = number(count, words, "--warm", "0");
    options.flood_sources = number(count, words, "--flood-sources", "1000000");
    options.flood_stride = number(count, words, "--flood-stride", "1");
    options.length = (int)number(count, words, "--length", "172");
    options.burst = (int)number(count, words, "--burst", "1");
    options.flood_burst = (int)number(count, words, "--flood-burst", "1");
    options.hold = (int)number(count, words, "--hold", "0");
    options.seconds = atof(option(count, words, "--seconds", "1"));
    options.rate = atof(option(count, words, "--rate", "0"));
    options.flood_rate = atof(option(count, words, "--flood-rate", "0"));
    if (options.length < RUN + 4 || options.burst < 1 || options.flood_burst < 1 || !options.flows ||
        options.burst * (options.length + HEADER) > ROOM) {
        fprintf(stderr, "a length, burst or number of flows that cannot be\n");
        exit(2);
    }
}

static int open_clients(struct sockaddr_in address)
{
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    return open_udp(address);
}

int main(int count, char **words)
{
    read_options(count, words);
    run = (uint32_t)now();
    transceiver_fd = open_udp(options.transceiver);
    client_fd = open_clients(options.clients);
    options.clients.sin_port = bound_to(client_fd).sin_port;
    set_buffer(transceiver_fd, SO_RCVBUFFORCE, SO_RCVBUF, 4 * BUFFER);
    set_buffer(client_fd, SO_RCVBUFFORCE, SO_RCVBUF, 4 * BUFFER);
    inner_of = calloc(options.flows, sizeof *inner_of);
    if (!inner_of)
        die("calloc");
    prepare_batches();
    if (memcmp(&options.public, &options.transceiver, sizeof options.public) == 0)
        leg = 0;

    const char *pids = option(count, words, "--pids", "");
    const char *direction = option(count, words, "--direction", "up");
    up.on = strcmp(direction, "up") == 0 || strcmp(direction, "both") == 0;
    down.on = strcmp(direction, "down") == 0 || strcmp(direction, "both") == 0;
    flood_records = read_records(option(count, words, "--flood", NULL));
    flood.on = flood_records.count > 0;
    flood.rate = options.flood_rate;
    if (flood.on) {
        flood_fd = open_clients(options.flood_clients);
        set_segment(flood_fd, flood_records.lengths[0] / options.flood_burst,
                    options.flood_burst);
    }

    read_sizes(option(count, words, "--sizes", NULL));
    struct records checks = read_records(option(count, words, "--checks", NULL));
    nanoseconds making_cpu = cpu_of(pids);
    nanoseconds making = checks.count ? make_known(checks) : 0;
    making_cpu = cpu_of(pids) - making_cpu;
    set_segment(client_fd, options.length, options.burst);
    set_segment(transceiver_fd, options.length + HEADER, options.burst);

    begin_streams(now(), 0);
    if (options.hold)
        pump_held(now() + WARM, pids);
    else if (up.on || down.on)
        pump(now() + WARM, 0);
    if (up.on || down.on) {
        if (options.warm)
            pump(now() + 200LL * WARM, options.warm * options.flows);
    }
    if (options.rate != 0)
        settle();
    if (options.rate > 0) {
        up.samples = malloc(SAMPLES * sizeof *up.samples);
        down.samples = malloc(SAMPLES * sizeof *down.samples);
    }
    begin_streams(now(), options.rate);
    counting = true;
    nanoseconds cpu_before = cpu_of(pids), own = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    nanoseconds until = now() + (nanoseconds)llround(options.seconds * 1e9);
    nanoseconds took = options.hold ? pump_held(until, pids) : pump(until, 0);
    nanoseconds cpu = cpu_of(pids) - cpu_before;
    own = clock_of(CLOCK_PROCESS_CPUTIME_ID) - own;
    uint64_t up_received = up.received - up.counted, down_received = down.received - down.counted;
    settle();
    nanoseconds settled_cpu = cpu_of(pids) - cpu_before;

    printf("{\"flows\": %llu, \"known\": %llu, \"checks\": %llu, \"making\": %.6f",
           (unsigned long long)options.flows, (unsigned long long)known,
           (unsigned long long)check_sent, (double)making * 1e-9);
    printf(", \"making_cpu\": %.6f, \"seconds\": %.6f, \"cpu\": %.6f, \"own_cpu\": %.6f",
           (double)making_cpu * 1e-9, (double)took * 1e-9, (double)cpu * 1e-9, (double)own * 1e-9);
    printf(", \"settled_cpu\": %.6f", (double)settled_cpu * 1e-9);
    printf(", \"wrong\": %llu", (unsigned long long)wrong);
    print_stream("up", &up, up_received);
    print_stream("down", &down, down_received);
    print_stream("flood", &flood, 0);
    printf("}\n");
    return 0;
}
