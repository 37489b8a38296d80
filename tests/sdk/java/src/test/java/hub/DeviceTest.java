package hub;

import static hub.Emulator.METHODS;
import static hub.Emulator.REGISTRY;
import static hub.Emulator.TWINS;
import static hub.Emulator.connections;
import static hub.Emulator.connects;
import static hub.Emulator.events;
import static hub.Emulator.isConnected;
import static hub.Emulator.newDevice;
import static hub.Emulator.next;
import static hub.Emulator.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.twin.TwinCollection;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceStatus;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/** DeviceClient and ModuleClient over every transport. HTTPS has telemetry, and no connection, twin and methods. */
class DeviceTest {
    /** How the journal names each transport. */
    private static final Map<IotHubClientProtocol, String> JOURNAL = Map.of(
            IotHubClientProtocol.AMQPS, "amqp",
            IotHubClientProtocol.AMQPS_WS, "amqp-ws",
            IotHubClientProtocol.MQTT, "mqtt",
            IotHubClientProtocol.MQTT_WS, "mqtt-ws");

    @ParameterizedTest
    @EnumSource
    void telemetry_lies_in_the_event_hub_with_its_properties(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        try (var open = OpenDevice.device(device, protocol)) {
            Message message = new Message("{\"temperature\":21}");
            message.setMessageId("m-1");
            message.setCorrelationId("c-1");
            message.setContentType("application/json");
            message.setContentEncoding("utf-8");
            message.setProperty("level", "critical & true");
            open.client.sendEvent(message);
            open.client.sendEvent(new Message("second"));
        }
        List<JsonObject> events = events(device.getDeviceId());
        assertEquals("second", text(events.get(0), "body"));
        JsonObject first = events.get(1);
        assertEquals(JsonParser.parseString("{\"temperature\":21}"), JsonParser.parseString(text(first, "body")));
        assertEquals("critical & true", text(first.getAsJsonObject("properties"), "level"));
        JsonObject system = first.getAsJsonObject("systemProperties");
        assertEquals(
                List.of("m-1", "c-1", "application/json", "utf-8"),
                List.of(text(system, "messageId"), text(system, "correlationId"), text(system, "contentType"),
                        text(system, "contentEncoding")));
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "HTTPS")
    void it_reads_its_twin_reports_and_hears_of_changes(IotHubClientProtocol protocol) throws Exception {
        String device = newDevice().getDeviceId();
        try (var open = OpenDevice.device(REGISTRY.getDevice(device), protocol)) {
            BlockingQueue<TwinCollection> desired = open.desiredProperties();
            assertEquals(1, next(desired).getVersion());

            TwinCollection report = new TwinCollection();
            report.put("battery", Map.of("level", 80));
            report.put("gone", null);
            int version = open.report(report);
            TwinCollection read = open.twin().getReportedProperties();
            assertEquals(version, read.getVersion());
            assertTrue(read.containsKey("battery"), read.toString());
            assertFalse(TWINS.get(device).getReportedProperties().containsKey("gone"));

            Twin patch = new Twin(device);
            patch.getDesiredProperties().put("interval", 5);
            TWINS.patch(patch);
            TwinCollection heard = next(desired);
            assertEquals(2, heard.getVersion());
            assertEquals(5, ((Number) heard.get("interval")).intValue());

            TwinCollection tooLong = new TwinCollection();
            tooLong.put("text", "x".repeat(4097));
            var refused = assertThrows(IotHubClientException.class, () -> open.report(tooLong));
            assertEquals(IotHubStatusCode.BAD_FORMAT, refused.getStatusCode());
            assertEquals(version, TWINS.get(device).getReportedProperties().getVersion());
        }
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "HTTPS")
    void the_model_it_names_is_in_its_twin_and_stays_there(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        assertEquals("", TWINS.get(device.getDeviceId()).getModelId());
        String model = "dtmi:com:example:Thermostat;1";
        try (var open = OpenDevice.deviceOfModel(model, device, protocol)) {
            assertEquals(model, TWINS.get(device.getDeviceId()).getModelId());
        }
        assertEquals(model, TWINS.get(device.getDeviceId()).getModelId());
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "HTTPS")
    void it_answers_methods(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        try (var open = OpenDevice.device(device, protocol)) {
            open.answerMethods();
            assertAnswers(device.getDeviceId());
        }
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "HTTPS")
    void a_module_has_a_twin_and_methods_of_its_own(IotHubClientProtocol protocol) throws Exception {
        String device = newDevice().getDeviceId();
        Module module = REGISTRY.addModule(new Module(device, "module01"));
        try (var open = OpenDevice.module(module, protocol)) {
            BlockingQueue<TwinCollection> desired = open.desiredProperties();
            assertEquals(1, next(desired).getVersion());
            Twin patch = new Twin(device, "module01");
            patch.getDesiredProperties().put("of", "the module");
            TWINS.patch(patch);
            assertEquals("the module", next(desired).get("of"));
            TwinCollection report = new TwinCollection();
            report.put("a", 1);
            assertEquals(open.report(report), TWINS.get(device, "module01").getReportedProperties().getVersion());
            assertEquals(1, TWINS.get(device).getReportedProperties().getVersion());

            open.answerMethods();
            var response = METHODS.invoke(device, "module01", "name");
            assertEquals("namenull", response.getPayload(String.class));
            open.client.sendEvent(new Message("of a module"));
            assertEquals("module01", text(events(device).get(0), "moduleId"));
        }
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "HTTPS")
    void a_second_client_takes_it_over_from_the_first(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        try (var first = OpenDevice.device(device, protocol)) {
            first.client.sendEvent(new Message("first"));
            try (var second = OpenDevice.device(device, protocol)) {
                second.client.sendEvent(new Message("second"));
                first.awaitEnd();
                second.client.sendEvent(new Message("third"));
                second.answerMethods();
                assertAnswers(device.getDeviceId());
                assertEquals(
                        List.of("third", "second", "first"),
                        events(device.getDeviceId()).stream().map(event -> text(event, "body")).toList());
                assertEquals(1, connections(device.getDeviceId()).size());
                assertTrue(isConnected(device.getDeviceId()));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "HTTPS")
    void it_leaves_and_comes_back(IotHubClientProtocol protocol) throws Exception {
        String device = newDevice().getDeviceId();
        try (var open = OpenDevice.device(REGISTRY.getDevice(device), protocol)) {
            BlockingQueue<TwinCollection> desired = open.desiredProperties();
            next(desired);
            assertTrue(isConnected(device));
            open.client.close();
            until("the hub sees it leave", () -> !isConnected(device));

            Twin patch = new Twin(device);
            patch.getDesiredProperties().put("while", "offline");
            TWINS.patch(patch);
            open.client.open(false);
            desired = open.desiredProperties();
            assertEquals("offline", next(desired).get("while"));
            patch.getDesiredProperties().put("while", "online");
            TWINS.patch(patch);
            assertEquals("online", next(desired).get("while"));

            List<JsonObject> connects = connects(device);
            assertEquals(2, connects.size());
            for (JsonObject connect : connects) {
                assertEquals(
                        List.of("succeeded", "sas-device-key", JOURNAL.get(protocol)),
                        List.of(text(connect, "outcome"), text(connect, "credential"), text(connect, "protocol")));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "HTTPS")
    void disabling_it_ends_its_connection(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        try (var open = OpenDevice.device(device, protocol)) {
            open.client.sendEvent(new Message("before"));
            device.setStatus(DeviceStatus.Disabled);
            REGISTRY.updateDevice(device);
            open.awaitEnd();
            assertEquals(0, connections(device.getDeviceId()).size());
            assertThrows(IotHubClientException.class, () -> OpenDevice.device(device, protocol));
        }
    }

    /**
     * Over AMQP and HTTPS the SDK renews in time; over MQTT it waits until the hub ends the connection, and comes
     * back with a new token.
     */
    @ParameterizedTest
    @EnumSource
    void it_keeps_sending_beyond_the_first_token(IotHubClientProtocol protocol) throws Exception {
        int seconds = 3;
        Device device = newDevice();
        long opening = System.nanoTime();
        try (var open = OpenDevice.deviceWithTokensOf(seconds, device, protocol)) {
            int sent = 0;
            while (System.nanoTime() - opening < 2 * seconds * 1_000_000_000L) {
                open.client.sendEvent(new Message("m-" + sent++));
            }
            assertEquals("m-" + (sent - 1), text(events(device.getDeviceId()).get(0), "body"));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"MQTT", "MQTT_WS"})
    void what_it_subscribed_to_reaches_it_beyond_the_first_token(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        try (var open = OpenDevice.deviceWithTokensOf(3, device, protocol)) {
            BlockingQueue<TwinCollection> desired = open.desiredProperties();
            next(desired);
            open.answerMethods();
            until("the SDK has come back", () -> connects(device.getDeviceId()).size() == 2);
            Twin patch = new Twin(device.getDeviceId());
            patch.getDesiredProperties().put("after", "renewal");
            TWINS.patch(patch);
            assertEquals("renewal", next(desired).get("after"));
            assertAnswers(device.getDeviceId());
        }
    }

    private static void assertAnswers(String device) throws Exception {
        var response = METHODS.invoke(device, "name");
        assertEquals(200, response.getStatus());
        assertEquals("namenull", response.getPayload(String.class));
    }

    private static String text(JsonObject object, String name) {
        return object.get(name).getAsString();
    }
}
