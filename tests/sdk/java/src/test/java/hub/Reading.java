package hub;

import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.EventHubClientBuilder;
import com.azure.messaging.eventhubs.EventHubConsumerAsyncClient;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.LastEnqueuedEventProperties;
import com.azure.messaging.eventhubs.models.PartitionEvent;
import com.azure.messaging.eventhubs.models.ReceiveOptions;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BooleanSupplier;
import org.reactivestreams.Subscription;
import reactor.core.publisher.BaseSubscriber;

/** What a client has received of a partition so far: events, and what it was refused with. */
final class Reading extends BaseSubscriber<PartitionEvent> implements AutoCloseable {
    final List<EventData> events = new CopyOnWriteArrayList<>();
    final List<Throwable> errors = new CopyOnWriteArrayList<>();
    volatile LastEnqueuedEventProperties lastEnqueued;
    private final News news = new News();
    private final EventHubConsumerAsyncClient client;
    private final long firstRequest;

    private Reading(EventHubConsumerAsyncClient client, long firstRequest) {
        this.client = client;
        this.firstRequest = firstRequest;
    }

    /** Reads on for as long as it is open. */
    static Reading of(EventHubClientBuilder client, int partition, EventPosition from, ReceiveOptions options) {
        return of(client, partition, from, options, Long.MAX_VALUE);
    }

    /** Takes {@code first} events, and more when it is told to. */
    static Reading of(
            EventHubClientBuilder builder, int partition, EventPosition from, ReceiveOptions options, long first) {
        Reading reading = new Reading(builder.buildAsyncConsumerClient(), first);
        reading.client.receiveFromPartition(String.valueOf(partition), from, options).subscribe(reading);
        return reading;
    }

    /** The texts a device has sent, in the order they came. */
    List<String> bodies(String device) {
        return events.stream().filter(event -> device.equals(deviceOf(event))).map(EventData::getBodyAsString).toList();
    }

    /** What the device has sent, when all that it is said to have sent last has come. */
    List<String> through(String device, String last) throws Exception {
        await(() -> bodies(device).contains(last));
        return bodies(device);
    }

    /** Waits until {@code reached}. An error of the client ends the wait. */
    void await(BooleanSupplier reached) throws Exception {
        news.await(() -> reached.getAsBoolean() || !errors.isEmpty());
        if (!reached.getAsBoolean()) {
            throw new AssertionError("the client was refused", errors.get(0));
        }
    }

    /** The first error of the client. */
    Throwable refusal() throws Exception {
        news.await(() -> !errors.isEmpty());
        return errors.get(0);
    }

    /** The device that an event comes from. */
    static String deviceOf(EventData event) {
        return (String) event.getSystemProperties().get("iothub-connection-device-id");
    }

    @Override
    protected void hookOnSubscribe(Subscription subscription) {
        subscription.request(firstRequest);
    }

    @Override
    protected void hookOnNext(PartitionEvent event) {
        lastEnqueued = event.getLastEnqueuedEventProperties();
        events.add(event.getData());
        news.tell();
    }

    @Override
    protected void hookOnError(Throwable error) {
        errors.add(error);
        news.tell();
    }

    @Override
    public void close() {
        cancel();
        client.close();
    }
}
