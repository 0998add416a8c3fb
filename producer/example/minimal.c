/* minimal.c: records one order and waits until PostgreSQL has it. Build it by
 *
 *     cc minimal.c $(pkg-config --cflags --libs blotter) */
#include <blotter.h>
#include <stdio.h>

int main(void)
{
    blotter_producer *producer;
    if (blotter_open(&producer, &(struct blotter_options){.exchange = "binance"}) != BLOTTER_OK) {
        fprintf(stderr, "%s\n", blotter_open_error());
        return 1;
    }
    struct blotter_order order = {.order_id = "28",
                                  .symbol = "BTCUSDT",
                                  .side = "buy",
                                  .price = "64250.10",
                                  .quantity = "0.0300"};
    int64_t seq = blotter_order(producer, &order); /* never waits */
    if (seq > 0) {
        /* a strategy would not wait */
        printf("%s\n", blotter_status_text(blotter_wait(producer, seq, BLOTTER_COMMITTED, 5000)));
    } else {
        fprintf(stderr, "%s: %s\n", blotter_status_text((int)seq), blotter_problem());
    }
    return blotter_close(producer, 1000) == 0 && seq > 0 ? 0 : 1;
}
