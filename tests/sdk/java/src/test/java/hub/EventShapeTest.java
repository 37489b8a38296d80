package hub;

import static hub.Emulator.HOST_NAME;
import static hub.Emulator.REGISTRY;
import static hub.Emulator.events;
import static hub.Emulator.newDevice;
import static hub.Emulator.until;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.ReceiveOptions;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryIdentity;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.eclipse.paho.client.mqttv3.MqttClient;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a message looks like to the Event Hubs client, whoever sent it and however, with its Java types. */
@Execution(ExecutionMode.CONCURRENT)
class EventShapeTest {
    private static final String API_VERSION = "api-version=2021-04-12";

    @ParameterizedTest
    @EnumSource
    void a_devices_message_is_read_with_all_that_it_was_sent_with(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        long sent = System.currentTimeMillis();
        try (var open = OpenDevice.device(device, protocol)) {
            Message message = new Message("{\"temperature\":21}");
            message.setMessageId("m-1");
            message.setCorrelationId("c-1");
            message.setContentType("application/json");
            message.setContentEncoding("utf-8");
            message.setProperty("level", "critical & true");
            open.client.sendEvent(message);
        }
        EventData event = read(device.getDeviceId()).get(0);
        assertEquals("{\"temperature\":21}", event.getBodyAsString());
        assertEquals(
                List.of("m-1", "c-1", "application/json"),
                List.of(event.getMessageId(), event.getCorrelationId(), event.getContentType()));
        assertEquals("utf-8", event.getRawAmqpMessage().getProperties().getContentEncoding());
        assertEquals("critical & true", event.getProperties().get("level"));
        assertFalse(event.getSystemProperties().containsKey("iothub-connection-module-id"));
        JsonObject method = method(event);
        assertEquals(List.of("device", "sas", "iothub"), List.of(
                method.get("scope").getAsString(), method.get("type").getAsString(),
                method.get("issuer").getAsString()));
        assertTrue(method.get("acceptingIpFilterRule").isJsonNull());
        assertStamped(event, device, sent);
    }

    @Test
    void a_message_of_nothing_but_bytes_is_read_as_those_bytes() throws Exception {
        Device device = newDevice();
        byte[] bytes = {0, -1, (byte) 0xc3, 0x28, 10};
        long sent = System.currentTimeMillis();
        // The AMQP side of the SDK gives every message an id; the MQTT side leaves it as it is.
        try (var open = OpenDevice.device(device, IotHubClientProtocol.MQTT)) {
            open.client.sendEvent(new Message(bytes));
        }
        EventData event = read(device.getDeviceId()).get(0);
        assertArrayEquals(bytes, event.getBody());
        assertNull(event.getContentType());
        assertTrue(event.getProperties().isEmpty(), event.getProperties().toString());
        assertStamped(event, device, sent);
    }

    @Test
    void a_message_of_a_module_names_the_module() throws Exception {
        Device device = newDevice();
        Module module = REGISTRY.addModule(new Module(device.getDeviceId(), "module01"));
        long sent = System.currentTimeMillis();
        try (var open = OpenDevice.module(module, IotHubClientProtocol.AMQPS)) {
            open.client.sendEvent(new Message("of a module"));
        }
        EventData event = read(device.getDeviceId()).get(0);
        assertEquals("of a module", event.getBodyAsString());
        assertEquals("module01", event.getSystemProperties().get("iothub-connection-module-id"));
        assertEquals("module", method(event).get("scope").getAsString());
        assertStamped(event, module, sent);
    }

    /** HTTPS alone sends batches. */
    @Test
    void the_messages_of_a_batch_are_events_of_their_own() throws Exception {
        Device device = newDevice();
        List<Message> batch = new ArrayList<>();
        for (String body : List.of("first", "second")) {
            Message message = new Message(body);
            message.setProperty("is", body);
            batch.add(message);
        }
        long sent = System.currentTimeMillis();
        try (var open = OpenDevice.device(device, IotHubClientProtocol.HTTPS)) {
            open.client.sendEvents(batch);
        }
        List<EventData> events = read(device.getDeviceId());
        assertEquals(List.of("first", "second"), events.stream().map(EventData::getBodyAsString).toList());
        assertTrue(events.get(0).getSequenceNumber() < events.get(1).getSequenceNumber());
        for (EventData event : events) {
            assertEquals(event.getBodyAsString(), event.getProperties().get("is"));
            assertStamped(event, device, sent);
        }
    }

    @Test
    void a_will_says_that_it_is_one() throws Exception {
        Device device = newDevice();
        String id = device.getDeviceId();
        var options = new MqttConnectOptions();
        options.setUserName("%s/%s/?%s".formatted(HOST_NAME, id, API_VERSION));
        options.setPassword(token(device).toCharArray());
        options.setWill("devices/%s/messages/events/colour=red".formatted(id), "gone".getBytes(), 1, false);
        var client = new MqttClient("ssl://%s:8883".formatted(HOST_NAME), id, new MemoryPersistence());
        client.connect(options);
        long sent = System.currentTimeMillis();
        // Without a DISCONNECT.
        client.disconnectForcibly(0, 0, false);
        client.close();
        until("the hub has sent the Will", () -> !events(id).isEmpty());
        EventData event = read(id).get(0);
        assertEquals("gone", event.getBodyAsString());
        assertEquals(Map.of("colour", "red", "iothub-MessageType", "Will"), event.getProperties());
        assertStamped(event, device, sent);
    }

    /** What the hub holds of a device by now, as the Event Hubs client reads it. */
    private static List<EventData> read(String device) throws Exception {
        List<JsonObject> held = events(device);
        int partition = held.get(0).get("partition").getAsInt();
        long last = held.get(0).get("sequenceNumber").getAsLong();
        long first = held.get(held.size() - 1).get("sequenceNumber").getAsLong();
        var client = EventHub.Carrier.TLS.client(EventHub.newConsumerGroup());
        var position = EventPosition.fromSequenceNumber(first, true);
        try (var reading = Reading.of(client, partition, position, new ReceiveOptions())) {
            reading.await(() -> reading.events.stream().anyMatch(event -> event.getSequenceNumber() >= last));
            return reading.events.stream().filter(event -> device.equals(Reading.deviceOf(event))).toList();
        }
    }

    /** What the hub says of every message. */
    private static void assertStamped(EventData event, RegistryIdentity identity, long sent) {
        Map<String, Object> system = event.getSystemProperties();
        assertTrue(event.getOffsetString().matches("\\d+"), event.getOffsetString());
        assertInstanceOf(Long.class, event.getSequenceNumber());
        assertEquals(identity.getDeviceId(), event.getPartitionKey());
        assertRecent(event.getEnqueuedTime().toEpochMilli(), sent);
        assertRecent(assertInstanceOf(Date.class, system.get("iothub-enqueuedtime")).getTime(), sent);
        assertEquals(identity.getDeviceId(), system.get("iothub-connection-device-id"));
        assertEquals("Telemetry", system.get("iothub-message-source"));
        assertEquals(identity.getGenerationId(), system.get("iothub-connection-auth-generation-id"));
    }

    private static void assertRecent(long time, long sent) {
        assertTrue(sent <= time && time <= System.currentTimeMillis(), "%s after %s".formatted(time, sent));
    }

    private static JsonObject method(EventData event) {
        String text = (String) event.getSystemProperties().get("iothub-connection-auth-method");
        return JsonParser.parseString(text).getAsJsonObject();
    }

    /** A token of the device, for a client that is not the SDK. */
    private static String token(Device device) throws Exception {
        String resource = encoded("%s/devices/%s".formatted(HOST_NAME, device.getDeviceId()));
        long expiry = Instant.now().getEpochSecond() + 60;
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getDecoder().decode(device.getPrimaryKey()), "HmacSHA256"));
        byte[] signature = mac.doFinal("%s\n%s".formatted(resource, expiry).getBytes(StandardCharsets.UTF_8));
        return "SharedAccessSignature sr=%s&sig=%s&se=%s"
                .formatted(resource, encoded(Base64.getEncoder().encodeToString(signature)), expiry);
    }

    private static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }
}
