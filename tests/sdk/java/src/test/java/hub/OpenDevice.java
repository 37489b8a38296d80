package hub;

import static hub.Emulator.connectionString;
import static hub.Emulator.next;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.ConnectionStatusChangeContext;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.InternalClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.MessageCallback;
import com.microsoft.azure.sdk.iot.device.ModuleClient;
import com.microsoft.azure.sdk.iot.device.transport.IotHubConnectionStatus;
import com.microsoft.azure.sdk.iot.device.transport.NoRetry;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.device.twin.TwinCollection;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryIdentity;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A client of a device or module that is open until this is closed, and what the SDK says of its connection. */
final class OpenDevice<C extends InternalClient> implements AutoCloseable {
    final C client;
    private final BlockingQueue<ConnectionStatusChangeContext> statuses = new LinkedBlockingQueue<>();

    private OpenDevice(C client) {
        this.client = client;
        client.setConnectionStatusChangeCallback(statuses::add, null);
    }

    /** A device that does not come back by itself when it loses its connection. */
    static OpenDevice<DeviceClient> device(RegistryIdentity device, IotHubClientProtocol protocol) throws Exception {
        var open = of(new DeviceClient(connectionString(device), protocol));
        open.client.setRetryPolicy(new NoRetry());
        open.client.open(false);
        return open;
    }

    /** A device that gives its cloud-to-device messages to {@code callback}. */
    static OpenDevice<DeviceClient> receiver(
            RegistryIdentity device, IotHubClientProtocol protocol, MessageCallback callback) throws Exception {
        var open = of(new DeviceClient(connectionString(device), protocol));
        open.client.setRetryPolicy(new NoRetry());
        open.client.setMessageCallback(callback, null);
        open.client.open(false);
        return open;
    }

    /** A device whose SDK makes tokens of {@code seconds}, and may come back when one has run out. */
    static OpenDevice<DeviceClient> deviceWithTokensOf(
            int seconds, RegistryIdentity device, IotHubClientProtocol protocol) throws Exception {
        var options = ClientOptions.builder().sasTokenExpiryTime(seconds).build();
        var open = of(new DeviceClient(connectionString(device), protocol, options));
        open.client.open(false);
        return open;
    }

    /** A device that names the model it follows, and does not come back by itself when it loses its connection. */
    static OpenDevice<DeviceClient> deviceOfModel(String model, RegistryIdentity device, IotHubClientProtocol protocol)
            throws Exception {
        var options = ClientOptions.builder().modelId(model).build();
        var open = of(new DeviceClient(connectionString(device), protocol, options));
        open.client.setRetryPolicy(new NoRetry());
        open.client.open(false);
        return open;
    }

    /** A module that does not come back by itself when it loses its connection. */
    static OpenDevice<ModuleClient> module(Module module, IotHubClientProtocol protocol) throws Exception {
        var open = of(new ModuleClient(connectionString(module), protocol));
        open.client.setRetryPolicy(new NoRetry());
        open.client.open(false);
        return open;
    }

    /** A client that someone else opens. */
    static <C extends InternalClient> OpenDevice<C> of(C client) {
        return new OpenDevice<>(client);
    }

    /** Waits until the SDK says that the connection is lost for good. */
    void awaitEnd() throws InterruptedException {
        while (next(statuses).getNewStatus() != IotHubConnectionStatus.DISCONNECTED) {
            // What it said on the way there.
        }
    }

    /** Answers every method with 200, its name and what it was sent. */
    void answerMethods() throws Exception {
        client.subscribeToMethods((name, payload, context) ->
                new DirectMethodResponse(200, name + payload.getPayloadAsJsonString()), null);
    }

    /** The desired properties the twin has when this returns, and then each change. */
    BlockingQueue<TwinCollection> desiredProperties() throws Exception {
        BlockingQueue<TwinCollection> heard = new LinkedBlockingQueue<>();
        client.subscribeToDesiredProperties((twin, context) -> heard.add(twin.getDesiredProperties()), null);
        heard.add(twin().getDesiredProperties());
        return heard;
    }

    /** What {@link InternalClient#getTwin()} returns. */
    Twin twin() throws Exception {
        var answer = new TwinAnswer();
        client.getTwinAsync(answer, null);
        return Twin.createFromPropertiesJson(answer.body());
    }

    /** What {@link InternalClient#updateReportedProperties(TwinCollection)} returns. */
    int report(TwinCollection patch) throws Exception {
        var answer = new TwinAnswer();
        client.updateReportedPropertiesAsync(patch, answer, null);
        return answer.version();
    }

    @Override
    public void close() {
        client.close();
    }
}
