package hub;

import static hub.Emulator.HOST_NAME;
import static hub.Emulator.METHODS;
import static hub.Emulator.OWNER;
import static hub.Emulator.REGISTRY;
import static hub.Emulator.TWINS;
import static hub.Emulator.connectionString;
import static hub.Emulator.connections;
import static hub.Emulator.events;
import static hub.Emulator.isConnected;
import static hub.Emulator.newDevice;
import static hub.Emulator.newId;
import static hub.Emulator.next;
import static hub.Emulator.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.ClientOptions.ClientOptionsBuilder;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.MultiplexingClient;
import com.microsoft.azure.sdk.iot.device.transport.NoRetry;
import com.microsoft.azure.sdk.iot.service.messaging.DeliveryAcknowledgement;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceStatus;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** MultiplexingClient: devices with a token and links of their own over one AMQP connection. */
class MultiplexingTest {
    private final List<Device> devices = new ArrayList<>();
    private final List<OpenDevice<DeviceClient>> open = new ArrayList<>();
    private MultiplexingClient connection;

    @AfterEach
    void close() {
        connection.close();
    }

    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS"})
    void devices_share_a_connection_and_nothing_else(IotHubClientProtocol protocol) throws Exception {
        connect(5, protocol);
        Set<String> shared = new HashSet<>();
        for (int number = 0; number < 5; number++) {
            String device = devices.get(number).getDeviceId();
            shared.add(connections(device).get(0).get("connection").getAsString());
            open.get(number).client.sendEvent(new Message("of " + device));
            assertEquals("of " + device, events(device).get(0).get("body").getAsString());
            assertEquals(1, events(device).size());
            assertServed(number);
        }
        assertEquals(1, shared.size());
    }

    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS"})
    void disabling_a_device_ends_its_part_alone(IotHubClientProtocol protocol) throws Exception {
        connect(3, protocol);
        Device disabled = devices.get(1);
        disabled.setStatus(DeviceStatus.Disabled);
        REGISTRY.updateDevice(disabled);
        open.get(1).awaitEnd();
        assertEquals(0, connections(disabled.getDeviceId()).size());
        assertServed(0);
        assertServed(2);
    }

    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS"})
    void taking_a_device_over_ends_its_part_alone(IotHubClientProtocol protocol) throws Exception {
        connect(3, protocol);
        try (var successor = OpenDevice.device(devices.get(1), protocol)) {
            open.get(1).awaitEnd();
            successor.client.sendEvent(new Message("of the successor"));
            assertEquals(1, events(devices.get(1).getDeviceId()).size());
            assertServed(0);
            assertServed(2);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS"})
    void a_device_leaves_the_connection_and_comes_back_to_it(IotHubClientProtocol protocol) throws Exception {
        connect(3, protocol);
        String leaving = devices.get(1).getDeviceId();
        connection.unregisterDeviceClient(open.get(1).client);
        until("the hub sees it leave", () -> !isConnected(leaving));
        assertServed(0);
        connection.registerDeviceClient(open.get(1).client);
        assertTrue(isConnected(leaving));
        assertServed(1);
        assertServed(2);
    }

    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS"})
    void each_device_gets_and_settles_its_own_messages(IotHubClientProtocol protocol) throws Exception {
        List<IotHubMessageResult> first =
                List.of(IotHubMessageResult.COMPLETE, IotHubMessageResult.ABANDON, IotHubMessageResult.REJECT);
        List<BlockingQueue<String>> arrived = new ArrayList<>();
        register(first.size(), protocol, ClientOptions.builder());
        for (int number = 0; number < first.size(); number++) {
            BlockingQueue<String> messages = new LinkedBlockingQueue<>();
            Queue<IotHubMessageResult> results = new ArrayDeque<>(List.of(first.get(number)));
            arrived.add(messages);
            open.get(number).client.setMessageCallback((message, context) -> {
                messages.add(new String(message.getBytes()));
                return results.isEmpty() ? IotHubMessageResult.COMPLETE : results.remove();
            }, null);
        }
        connection.open(false);

        var service = new MessagingClient(OWNER, IotHubServiceClientProtocol.AMQPS);
        service.open();
        try {
            for (Device device : devices) {
                service.send(device.getDeviceId(), message("for " + device.getDeviceId()));
            }
            for (int number = 0; number < devices.size(); number++) {
                String device = devices.get(number).getDeviceId();
                assertEquals("for " + device, next(arrived.get(number)));
                if (first.get(number) == IotHubMessageResult.ABANDON) {
                    assertEquals("for " + device, next(arrived.get(number)));
                }
                until("the queue is empty", () -> REGISTRY.getDevice(device).getCloudToDeviceMessageCount() == 0);
            }
            assertTrue(arrived.stream().allMatch(BlockingQueue::isEmpty), "nobody got what was another's");
        } finally {
            service.close();
        }
    }

    /** The SDK renews the token of each device in time, over the links to $cbs that they share. */
    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS"})
    void devices_are_served_beyond_their_first_tokens(IotHubClientProtocol protocol) throws Exception {
        int seconds = 8;
        register(3, protocol, ClientOptions.builder().sasTokenExpiryTime(seconds));
        connection.open(false);
        long expired = System.nanoTime() + seconds * 1_000_000_000L;
        List<String> begun = new ArrayList<>();
        for (Device device : devices) {
            begun.add(sessionBegun(device));
        }
        while (System.nanoTime() < expired) {
            for (int number = 0; number < 3; number++) {
                open.get(number).client.sendEvent(new Message("of device " + number));
            }
        }
        for (int number = 0; number < 3; number++) {
            assertServed(number);
            assertEquals(begun.get(number), sessionBegun(devices.get(number)), "it is still the first session");
        }
    }

    private static String sessionBegun(Device device) throws Exception {
        return connections(device.getDeviceId()).get(0).get("connectedAt").getAsString();
    }

    /** Opens a connection with as many new devices. */
    private void connect(int count, IotHubClientProtocol protocol) throws Exception {
        register(count, protocol, ClientOptions.builder());
        connection.open(false);
    }

    /** Makes a connection with as many new devices, not open yet. */
    private void register(int count, IotHubClientProtocol protocol, ClientOptionsBuilder options) throws Exception {
        connection = new MultiplexingClient(HOST_NAME, protocol);
        connection.setRetryPolicy(new NoRetry());
        for (int number = 0; number < count; number++) {
            devices.add(newDevice());
            String connectionString = connectionString(devices.get(number));
            open.add(OpenDevice.of(new DeviceClient(connectionString, protocol, options.build())));
            open.get(number).client.setRetryPolicy(new NoRetry());
        }
        connection.registerDeviceClients(open.stream().map(device -> device.client).toList());
    }

    /** What a back end sends that wants no feedback, of which the hub has one queue; the device's has the same name. */
    private static com.microsoft.azure.sdk.iot.service.messaging.Message message(String body) {
        var message = new com.microsoft.azure.sdk.iot.service.messaging.Message(body);
        message.setMessageId(newId());
        message.setDeliveryAcknowledgement(DeliveryAcknowledgement.None);
        return message;
    }

    /** A method and a change of its twin reach the device. */
    private void assertServed(int number) throws Exception {
        String device = devices.get(number).getDeviceId();
        open.get(number).answerMethods();
        assertEquals("namenull", METHODS.invoke(device, "name").getPayload(String.class));
        var desired = open.get(number).desiredProperties();
        next(desired);
        Twin patch = new Twin(device);
        patch.getDesiredProperties().put("of", device);
        TWINS.patch(patch);
        assertEquals(device, next(desired).get("of"));
    }
}
