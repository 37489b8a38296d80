package hub;

import static hub.Emulator.OWNER;
import static hub.Emulator.REGISTRY;
import static hub.Emulator.newDevice;
import static hub.Emulator.newId;
import static hub.Emulator.next;
import static hub.Emulator.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubDeviceMaximumQueueDepthExceededException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.messaging.AcknowledgementType;
import com.microsoft.azure.sdk.iot.service.messaging.DeliveryAcknowledgement;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackRecord;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackStatusCode;
import com.microsoft.azure.sdk.iot.service.messaging.FileUploadNotificationProcessorClient;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.MessageFeedbackProcessorClient;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * MessagingClient to DeviceClient, how each transport settles, and what MessageFeedbackProcessorClient makes of it.
 * The hub has one queue of feedback: no other test of this suite reads it.
 */
class CloudToDeviceTest {
    private static final BlockingQueue<FeedbackRecord> FEEDBACK = new LinkedBlockingQueue<>();
    private static final MessagingClient SERVICE = new MessagingClient(OWNER, IotHubServiceClientProtocol.AMQPS);
    private static final MessageFeedbackProcessorClient FEEDBACK_PROCESSOR = new MessageFeedbackProcessorClient(
            OWNER, IotHubServiceClientProtocol.AMQPS_WS, batch -> {
                FEEDBACK.addAll(batch.getRecords());
                return AcknowledgementType.COMPLETE;
            });

    /** What the device makes of the next messages; after these it completes. */
    private final Queue<IotHubMessageResult> results = new ArrayDeque<>();

    private final BlockingQueue<Message> messages = new LinkedBlockingQueue<>();

    @BeforeAll
    static void open() throws Exception {
        SERVICE.open();
        FEEDBACK_PROCESSOR.start();
    }

    @AfterAll
    static void close() throws Exception {
        FEEDBACK_PROCESSOR.stop();
        SERVICE.close();
    }

    @ParameterizedTest
    @EnumSource
    void a_message_arrives_with_its_properties_and_is_completed(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        try (var open = receive(device, protocol)) {
            var sent = new com.microsoft.azure.sdk.iot.service.messaging.Message("grüße");
            sent.setMessageId(newId());
            sent.setCorrelationId("c-1");
            sent.getProperties().put("level", "critical");
            sent.setDeliveryAcknowledgement(DeliveryAcknowledgement.Full);
            SERVICE.send(device.getDeviceId(), sent);

            Message got = next(messages);
            assertEquals("grüße", new String(got.getBytes(), Message.DEFAULT_IOTHUB_MESSAGE_CHARSET));
            assertEquals(
                    List.of(sent.getMessageId(), "c-1", "critical"),
                    List.of(got.getMessageId(), got.getCorrelationId(), got.getProperty("level")));
            assertTold(sent.getMessageId(), FeedbackStatusCode.success);
            assertEquals(0, pending(device));
        }
    }

    @ParameterizedTest
    @EnumSource
    void messages_wait_for_a_device_that_is_offline(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        for (int number = 0; number < 3; number++) {
            send(device, "m-" + number);
        }
        assertEquals(3, pending(device));
        try (var open = receive(device, protocol)) {
            for (int number = 0; number < 3; number++) {
                assertEquals("m-" + number, new String(next(messages).getBytes()));
            }
            until("the queue is empty", () -> pending(device) == 0);
        }
    }

    /** MQTT has no words for this and the next. */
    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS", "HTTPS"})
    void an_abandoned_message_comes_again(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        results.add(IotHubMessageResult.ABANDON);
        try (var open = receive(device, protocol)) {
            String message = send(device, "again");
            assertEquals(message, next(messages).getMessageId());
            assertEquals(message, next(messages).getMessageId());
            assertTold(message, FeedbackStatusCode.success);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"AMQPS", "AMQPS_WS", "HTTPS"})
    void a_rejected_message_is_gone(IotHubClientProtocol protocol) throws Exception {
        Device device = newDevice();
        results.add(IotHubMessageResult.REJECT);
        try (var open = receive(device, protocol)) {
            String message = send(device, "unwanted");
            assertEquals(message, next(messages).getMessageId());
            assertTold(message, FeedbackStatusCode.rejected);
            assertEquals(0, pending(device));
        }
    }

    /** {@code start} returns when the hub has granted the receiver. */
    @ParameterizedTest
    @EnumSource
    void the_receiver_of_file_notifications_is_there(IotHubServiceClientProtocol protocol) throws Exception {
        var processor = new FileUploadNotificationProcessorClient(
                OWNER, protocol, notification -> AcknowledgementType.ABANDON);
        processor.start();
        assertTrue(processor.isRunning());
        processor.stop();
    }

    @Test
    void a_message_for_a_device_that_does_not_exist_is_refused() {
        var message = new com.microsoft.azure.sdk.iot.service.messaging.Message("lost");
        assertThrows(IotHubNotFoundException.class, () -> SERVICE.send(newId(), message));
    }

    @Test
    void a_queue_holds_fifty_messages_and_not_one_more() throws Exception {
        Device device = newDevice();
        for (int number = 0; number < 50; number++) {
            send(device, "m-" + number);
        }
        assertThrows(IotHubDeviceMaximumQueueDepthExceededException.class, () -> send(device, "one more"));
    }

    /** Opens a device that settles as {@link #results} says. */
    private OpenDevice<DeviceClient> receive(Device device, IotHubClientProtocol protocol) throws Exception {
        return OpenDevice.receiver(device, protocol, (message, context) -> {
            messages.add(message);
            return results.isEmpty() ? IotHubMessageResult.COMPLETE : results.remove();
        });
    }

    /** Sends to the device, asking for feedback in any case, and returns the id of the message. */
    private static String send(Device device, String body) throws Exception {
        var message = new com.microsoft.azure.sdk.iot.service.messaging.Message(body);
        message.setMessageId(newId());
        message.setDeliveryAcknowledgement(DeliveryAcknowledgement.Full);
        SERVICE.send(device.getDeviceId(), message);
        return message.getMessageId();
    }

    /** Waits for the feedback of a message, past that of others. */
    private static void assertTold(String message, FeedbackStatusCode status) throws Exception {
        FeedbackRecord record = next(FEEDBACK);
        while (!record.getOriginalMessageId().equals(message)) {
            record = next(FEEDBACK);
        }
        assertEquals(status, record.getStatusCode());
    }

    private static long pending(Device device) throws Exception {
        return REGISTRY.getDevice(device.getDeviceId()).getCloudToDeviceMessageCount();
    }
}
