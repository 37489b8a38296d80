package hub;

import java.util.function.BooleanSupplier;

/** Something has happened: those who wait look whether it was what they wait for. */
final class News {
    /** Processors need several rounds to share their partitions, and a busy machine takes its time over each. */
    private static final long PATIENCE_MS = 60_000;

    synchronized void tell() {
        notifyAll();
    }

    /** Waits until {@code reached}. */
    synchronized void await(BooleanSupplier reached) throws InterruptedException {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!reached.getAsBoolean()) {
            long left = deadline - System.currentTimeMillis();
            if (left <= 0) {
                throw new AssertionError("not within %s ms".formatted(PATIENCE_MS));
            }
            wait(left);
        }
    }
}
