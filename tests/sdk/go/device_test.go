package hub

import (
	"errors"
	"testing"
	"time"

	"github.com/amenzhinsky/iothub/common"
	"github.com/amenzhinsky/iothub/iotdevice"
	"github.com/amenzhinsky/iothub/iotservice"
	"github.com/amenzhinsky/iothub/logger"
	paho "github.com/eclipse/paho.mqtt.golang"
)

// overEach runs a test over both transports at once.
func overEach(t *testing.T, test func(*testing.T, bool)) {
	for name, webSocket := range transports {
		webSocket := webSocket
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, webSocket)
		})
	}
}

func TestTelemetryLiesInTheEventHubWithItsProperties(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		client := connect(t, service, device, webSocket)
		check(t, client.SendEvent(within(t), []byte("first"), iotdevice.WithSendMessageID("m-1"),
			iotdevice.WithSendCorrelationID("c-1"), iotdevice.WithSendProperty("level", "critical & true")))
		check(t, client.SendEvent(within(t), []byte("second"), iotdevice.WithSendQoS(0)))
		until(t, "both lie in the event hub", func() bool { return len(events(t, device)) == 2 })
		found := events(t, device)
		equal(t, []string{found[0].Body, found[1].Body}, []string{"second", "first"})
		equal(t, found[1].Properties, map[string]string{"level": "critical & true"})
		equal(t, found[1].SystemProperties.MessageID, "m-1")
		equal(t, found[1].SystemProperties.CorrelationID, "c-1")
	})
}

func TestADeviceReadsItsTwinReportsAndHearsOfChanges(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		client := connect(t, service, device, webSocket)
		changes, err := client.SubscribeTwinUpdates(within(t))
		check(t, err)
		desired, reported, err := client.RetrieveTwinState(within(t))
		check(t, err)
		equal(t, []int{desired.Version(), reported.Version()}, []int{1, 1})

		version, err := client.UpdateTwinState(within(t), iotdevice.TwinState{"battery": 80, "gone": nil})
		check(t, err)
		equal(t, version, 2)
		twin, err := service.GetDeviceTwin(within(t), device.DeviceID)
		check(t, err)
		equal(t, twin.Properties.Reported["battery"], 80)

		_, err = service.UpdateDeviceTwin(within(t), &iotservice.Twin{DeviceID: device.DeviceID,
			Properties: &iotservice.Properties{Desired: map[string]interface{}{"interval": 5}}})
		check(t, err)
		select {
		case change := <-changes.C():
			equal(t, change, map[string]interface{}{"interval": 5, "$version": 2})
		case <-time.After(patience):
			t.Fatal("the change did not come")
		}
	})
}

func TestADeviceAnswersMethods(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		client := connect(t, service, device, webSocket)
		answerMethods(t, client.Client)
		assertAnswers(t, service, device)

		result, err := service.CallDeviceMethod(within(t), device.DeviceID, &iotservice.MethodCall{
			MethodName: "fail", Payload: map[string]interface{}{}, ResponseTimeout: 30})
		check(t, err)
		equal(t, result.Status, 500)
	})
}

func TestASecondClientTakesTheDeviceOver(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		first := connect(t, service, device, webSocket)
		check(t, first.SendEvent(within(t), []byte("first")))
		second := connect(t, service, device, webSocket)
		await(t, "the first loses its connection", first.lost)
		check(t, second.SendEvent(within(t), []byte("second")))
		answerMethods(t, second.Client)
		assertAnswers(t, service, device)
		equal(t, len(events(t, device)), 2)
	})
}

func TestDisablingADeviceEndsItsConnection(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		client := connect(t, service, device, webSocket)
		device.Status = iotservice.Disabled
		_, err := service.UpdateDevice(within(t), device)
		check(t, err)
		await(t, "it loses its connection", client.lost)
	})
}

// The package does not renew a token: it waits until the hub ends the connection and comes back with a new one.
func TestADeviceComesBackWithANewToken(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		who := credentials(t, service, device)
		who.life = 2 * time.Second
		client := connectWith(t, who, webSocket, func(*paho.ClientOptions) {})
		answerMethods(t, client)
		until(t, "it is back", func() bool { return connects(t, device) == 2 })
		assertAnswers(t, service, device)
	})
}

// A property with a "&" the package cannot read: it takes the topic's escapes away before it splits the topic.
func TestMessagesArriveWithTheirPropertiesAndAreDoneWith(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		client := connect(t, service, device, webSocket)
		messages, err := client.SubscribeEvents(within(t))
		check(t, err)
		check(t, service.SendEvent(within(t), device.DeviceID, []byte("hello"), iotservice.WithSendMessageID("m-1"),
			iotservice.WithSendCorrelationID("c-1"), iotservice.WithSendProperty("level", "critical")))
		message := next(t, messages)
		equal(t, string(message.Payload), "hello")
		equal(t, []string{message.MessageID, message.CorrelationID, message.Properties["level"]},
			[]string{"m-1", "c-1", "critical"})
		until(t, "the message is completed", func() bool { return pending(t, service, device) == 0 })
	})
}

// The subscription is the transport's: the client drops what comes before SubscribeEvents has returned.
func TestMessagesWaitForADeviceThatIsOffline(t *testing.T) {
	overEach(t, func(t *testing.T, webSocket bool) {
		service := service(t)
		device := newDevice(t, service)
		bodies := []string{"m-0", "m-1", "m-2"}
		for _, body := range bodies {
			check(t, service.SendEvent(within(t), device.DeviceID, []byte(body)))
		}
		equal(t, pending(t, service, device), 3)

		transport := newTransport(t, webSocket, func(*paho.ClientOptions) {})
		transport.SetLogger(logger.New(logger.LevelError, nil))
		t.Cleanup(func() { transport.Close() })
		check(t, transport.Connect(within(t), credentials(t, service, device)))
		arrived := make(arrivals)
		check(t, transport.SubscribeEvents(within(t), arrived))
		for _, body := range bodies {
			select {
			case message := <-arrived:
				equal(t, string(message.Payload), body)
			case <-time.After(patience):
				t.Fatalf("%s did not come", body)
			}
		}
		until(t, "the queue is empty", func() bool { return pending(t, service, device) == 0 })
	})
}

type arrivals chan *common.Message

func (a arrivals) Dispatch(message *common.Message) { a <- message }

// The hub has one queue of feedback: no other test of this suite reads it.
func TestFeedbackSaysWhatBecameOfAMessage(t *testing.T) {
	service := service(t)
	read, told := newDevice(t, service), make(chan iotservice.Feedback)
	go service.SubscribeFeedback(within(t), func(feedback *iotservice.Feedback) error {
		told <- *feedback
		return nil
	})
	messages, err := connect(t, service, read, false).SubscribeEvents(within(t))
	check(t, err)
	check(t, service.SendEvent(within(t), read.DeviceID, []byte("read"), iotservice.WithSendMessageID("m-read"),
		iotservice.WithSendAck(iotservice.AckFull)))
	next(t, messages)
	assertTold(t, told, read, "m-read", "Success")

	purged := newDevice(t, service)
	check(t, service.SendEvent(within(t), purged.DeviceID, []byte("purged"), iotservice.WithSendMessageID("m-purged"),
		iotservice.WithSendAck(iotservice.AckFull)))
	result, err := service.PurgeQueue(within(t), purged.DeviceID)
	check(t, err)
	equal(t, result.TotalMessagesPurged, 1)
	assertTold(t, told, purged, "m-purged", "Purged")
}

func TestMessagesForAnUnknownDeviceAreRefused(t *testing.T) {
	t.Parallel()
	if service(t).SendEvent(within(t), "go-"+newID(t), []byte("lost")) == nil {
		t.Fatal("the message was accepted")
	}
}

func assertTold(t *testing.T, told <-chan iotservice.Feedback, device *iotservice.Device, message, status string) {
	t.Helper()
	select {
	case feedback := <-told:
		equal(t, []string{feedback.DeviceID, feedback.DeviceGenerationID, feedback.OriginalMessageID, feedback.StatusCode},
			[]string{device.DeviceID, device.GenerationID, message, status})
	case <-time.After(patience):
		t.Fatalf("no feedback for %s", message)
	}
}

// answerMethods answers the method echo with what it was sent, and fail with an error.
func answerMethods(t *testing.T, client *iotdevice.Client) {
	t.Helper()
	check(t, client.RegisterMethod(within(t), "echo",
		func(payload map[string]interface{}) (int, map[string]interface{}, error) { return 200, payload, nil }))
	check(t, client.RegisterMethod(within(t), "fail",
		func(map[string]interface{}) (int, map[string]interface{}, error) {
			return 500, nil, errors.New("failed")
		}))
}

func assertAnswers(t *testing.T, service *iotservice.Client, device *iotservice.Device) {
	t.Helper()
	payload := map[string]interface{}{"k1": "v1"}
	result, err := service.CallDeviceMethod(within(t), device.DeviceID, &iotservice.MethodCall{
		MethodName: "echo", Payload: payload, ConnectTimeout: 30, ResponseTimeout: 30})
	check(t, err)
	equal(t, result.Status, 200)
	equal(t, result.Payload, payload)
}

func next(t *testing.T, messages *iotdevice.EventSub) *common.Message {
	t.Helper()
	select {
	case message := <-messages.C():
		return message
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

// pending counts the messages that wait for the device or are with it unsettled.
func pending(t *testing.T, service *iotservice.Client, device *iotservice.Device) int {
	t.Helper()
	found, err := service.GetDevice(within(t), device.DeviceID)
	check(t, err)
	return int(found.CloudToDeviceMessageCount)
}
