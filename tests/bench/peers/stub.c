/* recvmmsg and sendmmsg that do nothing, preloaded in front of the C library's.
 *
 * Until stub_begin they are the system calls. Then a receive fills what the kernel would fill (the
 * address, the lengths, the flags, the header where it is received apart, the first octets of the
 * payload) for as many packets as was asked for, and a send takes everything and counts it.
 */

#define _GNU_SOURCE
#include "common.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ADDRESS = 28 };

static int stubbed, packets, payload, check_length;
static unsigned char addresses[BATCH][ADDRESS], headers[BATCH][HEADER], check[512];
static long long taken, octets;

static unsigned fill(struct mmsghdr *messages, unsigned limit)
{
    unsigned count = (unsigned)packets < limit ? (unsigned)packets : limit;
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *header = &messages[i].msg_hdr;
        struct iovec *last = &header->msg_iov[header->msg_iovlen - 1];
        unsigned length = (unsigned)payload;
        memcpy(header->msg_name, addresses[i], ADDRESS);
        if (i == 0 && check_length) {
            memcpy(last->iov_base, check, (size_t)check_length);
            length = (unsigned)check_length;
        } else {
            memcpy(last->iov_base, "\x80\x60", 2);
        }
        if (header->msg_iovlen == 2) {
            memcpy(header->msg_iov[0].iov_base, headers[i], HEADER);
            length += HEADER;
        }
        header->msg_flags = 0;
        messages[i].msg_len = length;
    }
    return count;
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned limit, int flags, struct timespec *timeout)
{
    if (!stubbed)
        return (int)syscall(SYS_recvmmsg, fd, messages, limit, flags, timeout);
    return (int)fill(messages, limit);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (!stubbed)
        return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
    taken += count;
    for (size_t i = 0; i < messages[0].msg_hdr.msg_iovlen; i++)
        octets += (long long)messages[0].msg_hdr.msg_iov[i].iov_len;
    return (int)count;
}

/* ``names`` are ADDRESS bytes each, ``legs`` HEADER bytes each, BATCH of both. The first packet is
 * ``first`` if that has a length. */
void stub_begin(int count, int length, const unsigned char *names, const unsigned char *legs,
                const unsigned char *first, int first_length)
{
    packets = count;
    payload = length;
    memcpy(addresses, names, sizeof addresses);
    memcpy(headers, legs, sizeof headers);
    check_length = first_length < (int)sizeof check ? first_length : 0;
    memcpy(check, first, (size_t)check_length);
    taken = octets = 0;
    stubbed = 1;
}

void stub_end(void)
{
    stubbed = 0;
}

long long stub_taken(void)
{
    return taken;
}

/* Of the first message of each send. */
long long stub_octets(void)
{
    return octets;
}

/* What filling a batch costs by itself, in nanoseconds; ``vectors`` is 1 or 2. */
double stub_cost(int vectors)
{
    enum { TIMES = 100000 };
    static unsigned char names[BATCH][ADDRESS], rooms[BATCH][2112], legs[BATCH][HEADER];
    static struct iovec iov[BATCH][2];
    static struct mmsghdr messages[BATCH];
    struct timespec begin, end;
    for (int i = 0; i < BATCH; i++) {
        iov[i][0] = (struct iovec){vectors == 2 ? (void *)legs[i] : rooms[i], HEADER};
        iov[i][1] = (struct iovec){rooms[i], sizeof rooms[i]};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = names[i], .msg_iov = iov[i], .msg_iovlen = (size_t)vectors};
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int n = 0; n < TIMES; n++) {
        fill(messages, BATCH);
        __asm__ volatile("" ::: "memory");
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
           TIMES;
}
