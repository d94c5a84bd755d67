/* Emulates one path between two network namespaces: rate with a drop-tail queue, delay, jitter, random loss.
 *
 * A TUN device stands in each namespace; what one end sends is read from its device, held back, and written to
 * the other's. In each direction a packet enters a virtual queue (dropped when it is full), is sent at the rate
 * of the moment, may be lost at random (only from client to server), and arrives after the one-way delay.
 *
 * The kernel hands over TCP segments as large as it likes (TSO): one system call for up to 64 KiB. Queue, loss
 * and departure are worked out for each packet of at most 1500 bytes in it, as on a wire; packets that arrive
 * within a grain of one another are handed on as one again, as the offload of a network card does.
 *
 * Usage: path_emulator CLIENT_NAMESPACE SERVER_NAMESPACE DEVICE; the namespaces are files.
 * Standard input: "rate_bytes_s rtt_s loss buffer_bytes jitter_s grain_s seed steps", then "time_s rate_bytes_s"
 * for each step. It says "ready" when the devices are there, and ends when its standard input does; then it
 * says what it carried, dropped and lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define LINE (1u << 18)           /* parcels that a delay line can hold */
#define BATCH 64                  /* reads from one device before the other has its turn */
#define JITTER_STEP (SECOND / 100) /* how long one deviation of the delay lasts */
#define LARGEST 65600

typedef struct {
    int64_t due;
    int length;
    unsigned char bytes[]; /* virtio header, then the packet */
} Parcel;

typedef struct {
    int in, out;
    double loss;
    int64_t free_at; /* when the last packet of the virtual queue has left */
    int64_t last_due;
    Parcel **line;
    unsigned head, tail;
    uint64_t packets, dropped, lost;
} Direction;

typedef struct {
    double time_s, rate;
} Step;

static struct {
    double rate, rtt_s, loss, buffer, jitter_s, grain_s;
    uint64_t seed;
    int steps;
} settings;
static Step *steps;
static int64_t start, delay, grain, jitter, jitter_until;
static volatile sig_atomic_t stopped;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), in [0, 1). */
static double chance(void) {
    uint64_t z = (settings.seed += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

static int device_in(const char *name_space, const char *name) {
    int file = open(name_space, O_RDONLY | O_CLOEXEC);
    if (file < 0 || setns(file, CLONE_NEWNET) < 0) fail(name_space);
    close(file);
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0) fail("/dev/net/tun");
    struct ifreq request = {0};
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(device, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
    if (ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) fail("TUNSETOFFLOAD");
    return device;
}

/* Rate at a moment, and in *until when it changes next; steps are sought from where time was last. */
static double rate_at(int64_t time, int64_t *until) {
    static int place; /* steps that have begun */
    *until = INT64_MAX;
    if (!settings.steps) return settings.rate;
    double elapsed_s = (double)(time - start) / SECOND;
    while (place > 0 && steps[place - 1].time_s > elapsed_s) place--;
    while (place < settings.steps && steps[place].time_s <= elapsed_s) place++;
    if (place < settings.steps) *until = start + (int64_t)(steps[place].time_s * SECOND) + 1;
    return place ? steps[place - 1].rate : settings.rate;
}

/* Bytes that the virtual queue holds now, given when it will be empty. */
static double waiting(int64_t time, int64_t free_at) {
    double bytes = 0.0;
    while (time < free_at) {
        int64_t until;
        double rate = rate_at(time, &until);
        int64_t end = until < free_at ? until : free_at;
        bytes += rate * (double)(end - time) / SECOND;
        time = end;
    }
    return bytes;
}

/* When `bytes` that begin to leave at `time` have left. */
static int64_t departure(int64_t time, double bytes) {
    for (;;) {
        int64_t until;
        double rate = rate_at(time, &until);
        double end = rate > 0 ? (double)time + bytes * SECOND / rate : 9e18;
        if (end <= (double)until) return (int64_t)end;
        if (until == INT64_MAX) return INT64_MAX / 2; /* a rate of zero for ever */
        bytes -= rate * (double)(until - time) / SECOND;
        time = until;
    }
}

/* Whether a packet of `length` bytes gets through, and when it has left the bottleneck. */
static int passes(Direction *d, int64_t time, int length) {
    d->packets++;
    if (waiting(time, d->free_at) + length > settings.buffer + length * (d->free_at <= time)) {
        d->dropped++;
        return 0;
    }
    d->free_at = departure(d->free_at > time ? d->free_at : time, length);
    if (d->loss > 0 && chance() < d->loss) {
        d->lost++;
        return 0;
    }
    return 1;
}

static void put(Direction *d, Parcel *parcel, int64_t left) {
    if (d->tail - d->head == LINE) {
        d->dropped++;
        free(parcel);
        return;
    }
    if (settings.jitter_s > 0 && left >= jitter_until) {
        jitter = (int64_t)((chance() - 0.5) * settings.jitter_s * SECOND);
        jitter_until = left + JITTER_STEP;
    }
    int64_t due = left + delay + jitter;
    d->last_due = parcel->due = due > d->last_due ? due : d->last_due; /* no packet overtakes another */
    d->line[d->tail++ & (LINE - 1)] = parcel;
}

static uint32_t sum(const unsigned char *bytes, int length) {
    uint32_t total = 0;
    for (int i = 0; i + 1 < length; i += 2) total += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    return total;
}

static uint16_t folded(uint32_t total) {
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    return (uint16_t)total;
}

/* Packets first..last of a large segment as a parcel of their own. */
static Parcel *part(const unsigned char *bytes, int length, int headers, int size, int first, int last) {
    const int prefix = sizeof(struct virtio_net_hdr);
    int from = first * size, to = (last + 1) * size, all = length - headers;
    if (to > all) to = all;
    int total = headers + to - from;
    Parcel *parcel = malloc(sizeof *parcel + (size_t)(prefix + total));
    if (!parcel) fail("malloc");
    parcel->length = prefix + total;
    unsigned char *packet = parcel->bytes + prefix;
    memcpy(packet, bytes, (size_t)headers);
    memcpy(packet + headers, bytes + headers + from, (size_t)(to - from));
    struct iphdr *ip = (struct iphdr *)packet;
    int ip_length = ip->ihl * 4;
    struct tcphdr *tcp = (struct tcphdr *)(packet + ip_length);
    ip->tot_len = htons((uint16_t)total);
    ip->id = htons((uint16_t)(ntohs(ip->id) + first));
    ip->check = 0;
    ip->check = htons((uint16_t)~folded(sum(packet, ip_length)));
    tcp->seq = htonl(ntohl(tcp->seq) + (uint32_t)from);
    if (to < all) tcp->fin = tcp->psh = 0;
    uint32_t pseudo = sum(packet + 12, 8) + IPPROTO_TCP + (uint32_t)(total - ip_length);
    tcp->check = htons(folded(pseudo)); /* the kernel adds the rest, if it ever has to */
    struct virtio_net_hdr virtio = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                    .csum_start = (uint16_t)ip_length,
                                    .csum_offset = offsetof(struct tcphdr, check)};
    if (last > first) {
        virtio.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
        virtio.gso_size = (uint16_t)size;
        virtio.hdr_len = (uint16_t)headers;
    }
    memcpy(parcel->bytes, &virtio, sizeof virtio);
    return parcel;
}

/* A segment that the kernel has not cut yet: cut it where packets are lost or lie too far apart. */
static void arrive_large(Direction *d, const unsigned char *bytes, int length, int size) {
    const struct iphdr *ip = (const struct iphdr *)bytes;
    int headers = ip->ihl * 4 + ((const struct tcphdr *)(bytes + ip->ihl * 4))->doff * 4;
    int count = (length - headers + size - 1) / size, first = -1;
    int64_t time = now(), begun = 0, left = 0;
    for (int i = 0; i < count; i++) {
        int payload = length - headers - i * size;
        int through = passes(d, time, headers + (payload < size ? payload : size));
        if (first >= 0 && (!through || d->free_at - begun > grain)) {
            put(d, part(bytes, length, headers, size, first, i - 1), left);
            first = -1;
        }
        if (!through) continue;
        if (first < 0) first = i, begun = d->free_at;
        left = d->free_at;
    }
    if (first >= 0) put(d, part(bytes, length, headers, size, first, count - 1), left);
}

static int read_one(Direction *d) {
    static unsigned char buffer[sizeof(struct virtio_net_hdr) + LARGEST];
    const int prefix = sizeof(struct virtio_net_hdr);
    ssize_t length = read(d->in, buffer, sizeof buffer);
    if (length <= prefix) return 0;
    const struct virtio_net_hdr *virtio = (const struct virtio_net_hdr *)buffer;
    const unsigned char *packet = buffer + prefix;
    if ((packet[0] >> 4) != 4) return 1; /* IPv6 talks to neighbours that are not there */
    if ((virtio->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4) {
        arrive_large(d, packet, (int)length - prefix, virtio->gso_size);
    } else if (passes(d, now(), (int)length - prefix)) {
        Parcel *parcel = malloc(sizeof *parcel + (size_t)length);
        if (!parcel) fail("malloc");
        parcel->length = (int)length;
        memcpy(parcel->bytes, buffer, (size_t)length);
        put(d, parcel, d->free_at);
    }
    return 1;
}

/* Hand on what is due; half a grain early, so that the mean is right. When the next is due, or never. */
static int64_t deliver(Direction *d) {
    int64_t until = now() + grain / 2;
    while (d->head != d->tail) {
        Parcel *parcel = d->line[d->head & (LINE - 1)];
        if (parcel->due > until) return parcel->due;
        if (write(d->out, parcel->bytes, (size_t)parcel->length) < 0 && errno == EAGAIN) return until;
        free(parcel);
        d->head++;
    }
    return INT64_MAX;
}

static void read_settings(void) {
    if (scanf("%lf %lf %lf %lf %lf %lf %" SCNu64 " %d", &settings.rate, &settings.rtt_s, &settings.loss,
              &settings.buffer, &settings.jitter_s, &settings.grain_s, &settings.seed, &settings.steps) != 8) {
        fprintf(stderr, "expected eight settings on standard input\n");
        exit(2);
    }
    steps = calloc((size_t)settings.steps + 1, sizeof *steps);
    for (int i = 0; i < settings.steps; i++)
        if (scanf("%lf %lf", &steps[i].time_s, &steps[i].rate) != 2) exit(2);
    delay = (int64_t)(settings.rtt_s / 2 * SECOND);
    grain = (int64_t)(settings.grain_s * SECOND);
}

/* Be woken in time though encoders keep all cores busy. */
static void be_prompt(void) {
    struct sched_param priority = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0) (void)setpriority(PRIO_PROCESS, 0, -10);
    prctl(PR_SET_TIMERSLACK, 1000);
}

int main(int count, char **words) {
    if (count != 4) return 2;
    signal(SIGTERM, stop);
    signal(SIGINT, SIG_IGN);
    read_settings();
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int client = device_in(words[1], words[3]), server = device_in(words[2], words[3]);
    if (setns(here, CLONE_NEWNET) < 0) fail("setns");
    Direction both[2] = {{.in = client, .out = server, .loss = settings.loss}, {.in = server, .out = client}};
    for (int i = 0; i < 2; i++)
        if (!(both[i].line = calloc(LINE, sizeof *both[i].line))) fail("calloc");
    be_prompt();
    start = now();
    printf("ready\n");
    fflush(stdout);
    struct pollfd watched[3] = {{client, POLLIN, 0}, {server, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    while (!stopped) {
        int got = 0;
        for (int i = 0; i < 2; i++)
            for (int n = 0; n < BATCH && read_one(&both[i]); n++) got = 1;
        int64_t there = deliver(&both[0]), back = deliver(&both[1]);
        int64_t wait = (there < back ? there : back) - now() - grain / 2;
        if (wait > SECOND) wait = SECOND;
        if (wait < 0) wait = 0;
        struct timespec timeout = {wait / SECOND, wait % SECOND};
        if (got) continue;
        if (ppoll(watched, 3, &timeout, NULL) > 0 && watched[2].revents) break;
        if ((watched[0].revents | watched[1].revents) & (POLLERR | POLLHUP | POLLNVAL)) break;
    }
    for (int i = 0; i < 2; i++)
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", both[i].packets, both[i].dropped, both[i].lost);
    return 0;
}
