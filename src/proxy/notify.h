/*
 * What systemd is told (Type=notify): a datagram of NAME=value lines to the Unix socket in $NOTIFY_SOCKET
 * (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html). Without that variable nothing is sent.
 */
#ifndef MOSAIC_PROXY_NOTIFY_H
#define MOSAIC_PROXY_NOTIFY_H

#include <stdint.h>

void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(const char *status);
void notify_status(const char *status);
void notify_watchdog(void);
/* How often systemd wants to hear of the watchdog, in milliseconds; 0: it does not. */
int64_t notify_watchdog_interval(void);

#endif
