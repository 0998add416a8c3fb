/* public.h: marks what libblotter exports; all else is hidden. */
#ifndef BLOTTER_PRODUCER_PUBLIC_H
#define BLOTTER_PRODUCER_PUBLIC_H

#define BLOTTER_PUBLIC __attribute__((visibility("default")))

#endif
