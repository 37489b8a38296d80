package hub;

import static hub.Emulator.next;

import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.transport.IotHubTransportMessage;
import com.microsoft.azure.sdk.iot.device.twin.GetTwinCorrelatingMessageCallback;
import com.microsoft.azure.sdk.iot.device.twin.ReportedPropertiesUpdateCorrelatingMessageCallback;
import com.microsoft.azure.sdk.iot.device.twin.ReportedPropertiesUpdateResponse;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * The hub's answer to one request about a twin, as it reached the SDK.
 *
 * <p>{@code getTwin} and {@code updateReportedProperties} wait for {@code onResponseReceived}, which version 2.5.0
 * sometimes never calls. {@code IotHubTransport.onMessageReceived} queues the answer for its receive thread before it
 * looks up whom to tell, and that thread, done with the answer, removes the entry that is looked up. Whichever is
 * faster wins, however long after the request's acknowledgement the answer came. The receive thread calls
 * {@code onResponseAcknowledged} before it removes the entry, so that is what this waits for: once, and an answer that
 * the hub does not send is a failure.
 */
final class TwinAnswer
        implements GetTwinCorrelatingMessageCallback, ReportedPropertiesUpdateCorrelatingMessageCallback {
    private final BlockingQueue<IotHubTransportMessage> answers = new LinkedBlockingQueue<>();

    String body() throws Exception {
        return new String(accepted().getBytes(), StandardCharsets.UTF_8);
    }

    int version() throws Exception {
        return accepted().getVersion();
    }

    private IotHubTransportMessage accepted() throws Exception {
        var answer = next(answers);
        var status = IotHubStatusCode.getIotHubStatusCode(Integer.parseInt(answer.getStatus()));
        if (!IotHubStatusCode.isSuccessful(status)) {
            throw new IotHubClientException(status, new String(answer.getBytes(), StandardCharsets.UTF_8));
        }
        return answer;
    }

    @Override
    public void onResponseAcknowledged(Message message, Object context) {
        answers.add((IotHubTransportMessage) message);
    }

    @Override
    public void onRequestQueued(Message message, Object context) {}

    @Override
    public void onRequestSent(Message message, Object context) {}

    @Override
    public void onRequestAcknowledged(Message message, Object context, IotHubClientException exception) {}

    @Override
    public void onResponseReceived(
            Twin twin, Message message, Object context, IotHubStatusCode status, IotHubClientException exception) {}

    @Override
    public void onResponseReceived(
            Message message,
            Object context,
            IotHubStatusCode status,
            ReportedPropertiesUpdateResponse response,
            IotHubClientException exception) {}
}
