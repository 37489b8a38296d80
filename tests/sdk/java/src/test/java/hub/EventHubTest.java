package hub;

import static hub.Emulator.admin;
import static hub.Emulator.events;
import static hub.Emulator.newDevice;
import static hub.EventHub.newConsumerGroup;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.azure.core.amqp.exception.AmqpErrorCondition;
import com.azure.core.amqp.exception.AmqpException;
import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.ReceiveOptions;
import com.azure.messaging.eventhubs.models.SendOptions;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.service.auth.IotHubConnectionString;
import com.microsoft.azure.sdk.iot.service.auth.IotHubServiceSasToken;
import com.microsoft.azure.sdk.iot.service.auth.IotHubConnectionStringBuilder;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The Event Hubs client against the built-in event hub over every carrier. */
@Execution(ExecutionMode.CONCURRENT)
class EventHubTest {
    private static final ReceiveOptions NO_OPTIONS = new ReceiveOptions();

    private final List<AutoCloseable> open = new ArrayList<>();
    private String device;
    private OpenDevice<DeviceClient> sender;

    @BeforeEach
    void connectADevice() throws Exception {
        Device identity = newDevice();
        device = identity.getDeviceId();
        sender = OpenDevice.device(identity, IotHubClientProtocol.MQTT);
        open.add(sender);
    }

    @AfterEach
    void close() throws Exception {
        for (AutoCloseable closeable : open) {
            closeable.close();
        }
    }

    @ParameterizedTest
    @EnumSource
    void says_what_it_is_and_what_its_partitions_hold(EventHub.Carrier carrier) throws Exception {
        send("m-0");
        JsonObject event = events(device).get(0);
        try (var client = carrier.client("$Default").buildConsumerClient()) {
            var hub = client.getEventHubProperties();
            assertEquals(EventHub.NAME, hub.getName());
            assertEquals(List.of("0", "1", "2", "3"), hub.getPartitionIds().stream().toList());
            Duration age = Duration.between(hub.getCreatedAt(), Instant.now());
            assertTrue(!age.isNegative() && age.toHours() == 0, age.toString());

            String partition = event.get("partition").getAsString();
            var properties = client.getPartitionProperties(partition);
            assertEquals(EventHub.NAME, properties.getEventHubName());
            assertEquals(partition, properties.getId());
            assertEquals(0, properties.getBeginningSequenceNumber());
            assertFalse(properties.isEmpty());
            // Other tests send into the same partition.
            assertTrue(properties.getLastEnqueuedSequenceNumber() >= event.get("sequenceNumber").getAsLong());
            assertTrue(Long.parseLong(properties.getLastEnqueuedOffset()) >= event.get("offset").getAsLong());
            Instant enqueued = Instant.parse(event.get("enqueuedTimeUtc").getAsString());
            assertTrue(properties.getLastEnqueuedTime().toEpochMilli() >= enqueued.toEpochMilli());
        }
    }

    @ParameterizedTest
    @EnumSource
    void is_read_from_every_position(EventHub.Carrier carrier) throws Exception {
        send("m-0", "m-1");
        Instant between = aMillisecondLater();
        send("m-2", "m-3");
        JsonObject second = events(device).get(2);
        JsonObject third = events(device).get(1);
        assertEquals("m-1", second.get("body").getAsString());
        long sequenceNumber = third.get("sequenceNumber").getAsLong();

        Map<EventPosition, List<String>> expected = new LinkedHashMap<>();
        expected.put(EventPosition.earliest(), List.of("m-0", "m-1", "m-2", "m-3"));
        expected.put(EventPosition.fromOffsetString(second.get("offset").getAsString()), List.of("m-2", "m-3"));
        expected.put(EventPosition.fromSequenceNumber(sequenceNumber), List.of("m-3"));
        expected.put(EventPosition.fromSequenceNumber(sequenceNumber, true), List.of("m-2", "m-3"));
        expected.put(EventPosition.fromEnqueuedTime(between), List.of("m-2", "m-3"));
        String group = newConsumerGroup();
        for (var row : expected.entrySet()) {
            try (var reading = Reading.of(carrier.client(group), partition(), row.getKey(), NO_OPTIONS)) {
                assertEquals(row.getValue(), reading.through(device, "m-3"), row.getKey().toString());
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void gives_a_reader_of_the_latest_position_what_comes_and_nothing_that_came_before(EventHub.Carrier carrier)
            throws Exception {
        send("before");
        var reading = read(carrier, newConsumerGroup(), EventPosition.latest(), NO_OPTIONS);
        // The client does not say when it has attached: what is sent until the first arrives may be missed.
        for (int number = 0; reading.bodies(device).isEmpty(); number++) {
            assertTrue(reading.errors.isEmpty(), reading.errors.toString());
            send("m-" + number);
        }
        send("after");
        List<String> bodies = reading.through(device, "after");
        assertTrue(bodies.get(0).startsWith("m-"), bodies.get(0));
        int from = Integer.parseInt(bodies.get(0).substring(2));
        assertEquals(
                IntStream.range(0, bodies.size() - 1).mapToObj(number -> "m-" + (from + number)).toList(),
                bodies.subList(0, bodies.size() - 1));
    }

    @ParameterizedTest
    @EnumSource
    void takes_a_reader_from_another_of_its_owner_level_or_a_lower_one_and_refuses_those_below(
            EventHub.Carrier carrier) throws Exception {
        send("m-0");
        String group = newConsumerGroup();
        Reading holder = read(carrier, group, EventPosition.earliest(), NO_OPTIONS);
        holder.through(device, "m-0");
        for (long level : new long[] {1, 2, 2}) {
            var options = new ReceiveOptions().setOwnerLevel(level);
            Reading taker = read(carrier, group, EventPosition.earliest(), options);
            taker.through(device, "m-0");
            assertCondition(AmqpErrorCondition.LINK_STOLEN, holder.refusal());
            holder = taker;
        }

        for (var options : List.of(new ReceiveOptions().setOwnerLevel(1L), NO_OPTIONS)) {
            Reading refused = read(carrier, group, EventPosition.earliest(), options);
            assertCondition(AmqpErrorCondition.LINK_STOLEN, refused.refusal());
            assertTrue(refused.events.isEmpty());
        }
        send("m-1");
        assertEquals(List.of("m-0", "m-1"), holder.through(device, "m-1"));
        assertTrue(holder.errors.isEmpty());
    }

    @ParameterizedTest
    @EnumSource
    void refuses_groups_and_partitions_that_do_not_exist(EventHub.Carrier carrier) throws Exception {
        Reading ofNobody = read(carrier, "nobody", EventPosition.earliest(), NO_OPTIONS);
        assertCondition(AmqpErrorCondition.NOT_FOUND, ofNobody.refusal());
        Reading beyond = Reading.of(carrier.client("$Default"), 4, EventPosition.earliest(), NO_OPTIONS);
        open.add(beyond);
        assertCondition(AmqpErrorCondition.NOT_FOUND, beyond.refusal());
        try (var client = carrier.client("$Default").buildConsumerClient()) {
            assertThrows(IllegalArgumentException.class, () -> client.getPartitionProperties("4"));
            assertEquals("3", client.getPartitionProperties("3").getId());
        }
    }

    @ParameterizedTest
    @EnumSource
    void refuses_to_be_sent_to(EventHub.Carrier carrier) {
        try (var producer = carrier.client("$Default").buildProducerClient()) {
            for (var where : List.of(new SendOptions(), new SendOptions().setPartitionId("0"))) {
                var refusal = assertThrows(
                        AmqpException.class, () -> producer.send(List.of(new EventData("x")), where));
                assertEquals(AmqpErrorCondition.UNAUTHORIZED_ACCESS, refusal.getErrorCondition());
            }
        }
    }

    @Test
    void has_consumer_groups_that_each_read_everything_at_their_own_pace() throws Exception {
        var asOwner = new ReceiveOptions().setOwnerLevel(0L);
        send("m-0");
        Reading first = read(EventHub.Carrier.TLS, newConsumerGroup(), EventPosition.earliest(), asOwner);
        assertEquals(List.of("m-0"), first.through(device, "m-0"));
        send("m-1");
        assertEquals(List.of("m-0", "m-1"), first.through(device, "m-1"));
        Reading second = read(EventHub.Carrier.TLS, newConsumerGroup(), EventPosition.earliest(), asOwner);
        assertEquals(List.of("m-0", "m-1"), second.through(device, "m-1"));
        send("m-2");
        for (Reading reading : List.of(first, second)) {
            assertEquals(List.of("m-0", "m-1", "m-2"), reading.through(device, "m-2"));
            assertTrue(reading.errors.isEmpty());
        }
    }

    @Test
    void tells_what_was_last_enqueued_to_those_who_ask_and_to_nobody_else() throws Exception {
        send("m-0", "m-1");
        JsonObject last = events(device).get(0);
        long sequenceNumber = last.get("sequenceNumber").getAsLong();
        var position = EventPosition.fromSequenceNumber(sequenceNumber, true);
        var asked = new ReceiveOptions().setTrackLastEnqueuedEventProperties(true);
        Reading told = read(EventHub.Carrier.TLS, newConsumerGroup(), position, asked);
        told.through(device, "m-1");
        assertTrue(told.lastEnqueued.getSequenceNumber() >= sequenceNumber);
        assertTrue(Long.parseLong(told.lastEnqueued.getOffsetString()) >= last.get("offset").getAsLong());
        assertFalse(told.lastEnqueued.getEnqueuedTime().isAfter(told.lastEnqueued.getRetrievalTime()));
        assertFalse(told.lastEnqueued.getRetrievalTime().isAfter(Instant.now()));

        Reading untold = read(EventHub.Carrier.TLS, newConsumerGroup(), position, NO_OPTIONS);
        untold.through(device, "m-1");
        assertNull(untold.lastEnqueued);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 30})
    void waits_for_a_slow_reader_whatever_it_prefetches(int prefetch) throws Exception {
        String[] bodies = IntStream.range(0, 50).mapToObj(number -> "m-" + number).toArray(String[]::new);
        send(bodies);
        var first = events(device).get(bodies.length - 1).get("sequenceNumber").getAsLong();
        var position = EventPosition.fromSequenceNumber(first, true);
        String group = newConsumerGroup();
        var builder = EventHub.Carrier.TLS.client(group).prefetchCount(prefetch);
        Reading slow = Reading.of(builder, partition(), position, NO_OPTIONS, 1);
        open.add(slow);
        slow.await(() -> slow.events.size() == 1);
        // In the same group, and not held up by the other.
        Reading fast = read(EventHub.Carrier.TLS, group, position, NO_OPTIONS);
        assertEquals(List.of(bodies), fast.through(device, bodies[bodies.length - 1]));
        assertEquals(1, slow.events.size());
        slow.requestUnbounded();
        assertEquals(List.of(bodies), slow.through(device, bodies[bodies.length - 1]));
    }

    @Test
    void takes_tokens_as_iot_hub_signs_them() throws Exception {
        send("m-0");
        String host = host(EventHub.CONNECTION_STRING);
        String owner = Emulator.OWNER.replaceFirst("HostName=[^;]*", "HostName=" + host);
        IotHubConnectionString hub = IotHubConnectionStringBuilder.createIotHubConnectionString(owner);
        String text = "Endpoint=sb://%s/;SharedAccessSignature=%s;EntityPath=%s"
                .formatted(host, new IotHubServiceSasToken(hub), EventHub.NAME);
        var client = EventHub.client(text, newConsumerGroup());
        Reading reading = Reading.of(client, partition(), EventPosition.earliest(), NO_OPTIONS);
        open.add(reading);
        assertEquals(List.of("m-0"), reading.through(device, "m-0"));
    }

    @Test
    void refuses_a_wrong_key_and_a_policy_without_the_right() throws Exception {
        String wrong = Base64.getEncoder().encodeToString("a key nobody gave to this policy".getBytes());
        String withWrongKey = EventHub.CONNECTION_STRING
                .replaceFirst("SharedAccessKey=[^;]*", "SharedAccessKey=" + wrong);
        String reader = JsonParser.parseString(admin("GET", "/connection-strings")).getAsJsonObject()
                .getAsJsonObject("policies").get("registryRead").getAsString()
                .replaceFirst("HostName=([^;]*)", "Endpoint=sb://$1/");
        for (String text : List.of(withWrongKey, reader + ";EntityPath=" + EventHub.NAME)) {
            try (var client = EventHub.client(text, "$Default").buildConsumerClient()) {
                var refusal = assertThrows(AmqpException.class, client::getEventHubProperties);
                assertEquals(AmqpErrorCondition.UNAUTHORIZED_ACCESS, refusal.getErrorCondition());
            }
            var client = EventHub.client(text, "$Default");
            Reading reading = Reading.of(client, 0, EventPosition.earliest(), NO_OPTIONS);
            open.add(reading);
            assertCondition(AmqpErrorCondition.UNAUTHORIZED_ACCESS, reading.refusal());
        }
    }

    /** Reads the device's partition until the test is over. */
    private Reading read(EventHub.Carrier carrier, String group, EventPosition from, ReceiveOptions options)
            throws Exception {
        int partition = events(device).isEmpty() ? 0 : partition();
        Reading reading = Reading.of(carrier.client(group), partition, from, options);
        open.add(0, reading);
        return reading;
    }

    private int partition() throws Exception {
        return events(device).get(0).get("partition").getAsInt();
    }

    private void send(String... bodies) throws Exception {
        for (String body : bodies) {
            sender.client.sendEvent(new Message(body));
        }
    }

    private static void assertCondition(AmqpErrorCondition expected, Throwable refusal) {
        assertEquals(expected, assertInstanceOf(AmqpException.class, refusal).getErrorCondition(), refusal.toString());
    }

    private static String host(String connectionString) {
        return connectionString.replaceFirst("Endpoint=sb://([^;/]*).*", "$1");
    }

    /** A time that lies after everything that has happened, and before everything that will. */
    private static Instant aMillisecondLater() {
        Instant between = passed(Instant.now().toEpochMilli());
        passed(between.toEpochMilli());
        return between;
    }

    private static Instant passed(long millisecond) {
        while (System.currentTimeMillis() <= millisecond) {
            Thread.onSpinWait();
        }
        return Instant.ofEpochMilli(millisecond + 1);
    }
}
