package hub;

import static hub.Emulator.admin;

import com.azure.core.amqp.AmqpRetryOptions;
import com.azure.core.amqp.AmqpTransportType;
import com.azure.messaging.eventhubs.EventHubClientBuilder;
import com.azure.messaging.eventhubs.EventProcessorClientBuilder;
import java.util.UUID;

/** The built-in event hub as the Event Hubs client sees it: the ways to it, and consumer groups of a test's own. */
final class EventHub {
    /** For plain AMQP. */
    private static final String PLAIN = System.getenv("EVENT_HUB_CONNECTION_STRING");

    /** Without the flag of an emulator the client speaks TLS. */
    static final String CONNECTION_STRING = PLAIN.replace(";UseDevelopmentEmulator=true", "");

    static final String NAME = CONNECTION_STRING.replaceFirst(".*EntityPath=", "");

    private static final AmqpRetryOptions ONCE = new AmqpRetryOptions().setMaxRetries(0);

    /** How the bytes travel. */
    enum Carrier {
        TLS(CONNECTION_STRING, AmqpTransportType.AMQP),
        WEB_SOCKET(CONNECTION_STRING, AmqpTransportType.AMQP_WEB_SOCKETS),
        PLAIN_TCP(PLAIN, AmqpTransportType.AMQP);

        private final String connectionString;
        private final AmqpTransportType transport;

        Carrier(String connectionString, AmqpTransportType transport) {
            this.connectionString = connectionString;
            this.transport = transport;
        }

        /** A builder of clients that try once. */
        EventHubClientBuilder client(String consumerGroup) {
            return EventHub.client(connectionString, consumerGroup).transportType(transport);
        }

        EventProcessorClientBuilder processor(String consumerGroup) {
            return new EventProcessorClientBuilder()
                    .connectionString(connectionString)
                    .transportType(transport)
                    .consumerGroup(consumerGroup);
        }
    }

    private EventHub() {}

    static EventHubClientBuilder client(String connectionString, String consumerGroup) {
        return new EventHubClientBuilder()
                .connectionString(connectionString)
                .consumerGroup(consumerGroup)
                .retryOptions(ONCE);
    }

    /** A consumer group no other test knows. */
    static String newConsumerGroup() throws Exception {
        String name = "java-" + UUID.randomUUID();
        admin("PUT", "/admin/event-hubs/%s/consumer-groups/%s".formatted(NAME, name));
        return name;
    }
}
