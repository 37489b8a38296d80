// Package hub drives the emulator with github.com/amenzhinsky/iothub, which has a client for devices and one for
// services. Where the hub is, scenarios/with-emulator says in the environment.
package hub

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/amenzhinsky/iothub/common"
	"github.com/amenzhinsky/iothub/iotdevice"
	"github.com/amenzhinsky/iothub/iotdevice/transport/mqtt"
	"github.com/amenzhinsky/iothub/iotservice"
	paho "github.com/eclipse/paho.mqtt.golang"
)

// Longest wait for something that must happen.
const patience = 30 * time.Second

var transports = map[string]bool{"Mqtt": false, "MqttWs": true}

type event struct {
	Body             string            `json:"body"`
	Properties       map[string]string `json:"properties"`
	SystemProperties struct {
		MessageID     string `json:"messageId"`
		CorrelationID string `json:"correlationId"`
	} `json:"systemProperties"`
}

// trust is a TLS configuration that takes the emulator's root: the package pins the roots of Azure.
func trust(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(os.Getenv("IOTHUB_EMULATOR_CA"))
	check(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the root certificate is none")
	}
	return &tls.Config{RootCAs: roots}
}

func httpClient(t *testing.T) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: trust(t)}}
}

// service is a client of the hub's owner.
func service(t *testing.T) *iotservice.Client {
	t.Helper()
	client, err := iotservice.NewFromConnectionString(os.Getenv("IOTHUB_CONNECTION_STRING"),
		iotservice.WithHTTPClient(httpClient(t)), iotservice.WithTLSConfig(trust(t)))
	check(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// newDevice makes a device no other test knows.
func newDevice(t *testing.T, service *iotservice.Client) *iotservice.Device {
	t.Helper()
	device, err := service.CreateDevice(within(t), &iotservice.Device{DeviceID: "go-" + newID(t)})
	check(t, err)
	return device
}

func newID(t *testing.T) string {
	t.Helper()
	random := make([]byte, 16)
	_, err := rand.Read(random)
	check(t, err)
	return hex.EncodeToString(random)
}

// A client of a device, and what tells that it lost its connection.
type connected struct {
	*iotdevice.Client
	lost chan struct{}
}

// connect connects a device that does not come back by itself.
func connect(t *testing.T, service *iotservice.Client, device *iotservice.Device, webSocket bool) connected {
	t.Helper()
	lost := make(chan struct{})
	client := connectWith(t, credentials(t, service, device), webSocket, func(options *paho.ClientOptions) {
		options.SetAutoReconnect(false)
		options.SetConnectionLostHandler(func(paho.Client, error) { close(lost) })
	})
	return connected{client, lost}
}

// Tokens that live as long as the test says, where the package makes them for an hour.
type shortLived struct {
	*iotdevice.SharedAccessKeyCredentials
	life time.Duration
}

func (c shortLived) Token(resource string, _ time.Duration) (*common.SharedAccessSignature, error) {
	return c.SharedAccessKeyCredentials.Token(resource, c.life)
}

func credentials(t *testing.T, service *iotservice.Client, device *iotservice.Device) shortLived {
	t.Helper()
	text, err := service.DeviceConnectionString(device, false)
	check(t, err)
	key, err := iotdevice.ParseConnectionString(text)
	check(t, err)
	return shortLived{key, time.Hour}
}

func connectWith(t *testing.T, who shortLived, webSocket bool, configure func(*paho.ClientOptions)) *iotdevice.Client {
	t.Helper()
	client, err := iotdevice.New(newTransport(t, webSocket, configure), who)
	check(t, err)
	t.Cleanup(func() { client.Close() })
	check(t, client.Connect(within(t)))
	return client
}

func newTransport(t *testing.T, webSocket bool, configure func(*paho.ClientOptions)) *mqtt.Transport {
	return mqtt.New(mqtt.WithWebSocket(webSocket), mqtt.WithClientOptionsConfig(func(options *paho.ClientOptions) {
		options.SetTLSConfig(trust(t))
		configure(options)
	}))
}

// events is what the built-in event hub holds of a device, newest first.
func events(t *testing.T, device *iotservice.Device) (found []event) {
	t.Helper()
	admin(t, "/admin/events?device="+url.QueryEscape(device.DeviceID), &found)
	return found
}

// connects counts how often a device has connected.
func connects(t *testing.T, device *iotservice.Device) (count int) {
	t.Helper()
	var entries []struct{ Operation, Outcome string }
	admin(t, "/admin/journal?device="+url.QueryEscape(device.DeviceID), &entries)
	for _, entry := range entries {
		if entry.Operation == "Connect" && entry.Outcome == "succeeded" {
			count++
		}
	}
	return count
}

func admin(t *testing.T, path string, into interface{}) {
	t.Helper()
	response, err := http.Get(os.Getenv("IOTHUB_EMULATOR_ADMIN_URL") + path)
	check(t, err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, response.Status)
	}
	check(t, json.NewDecoder(response.Body).Decode(into))
}

// within is a context that ends when the patience does.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until asks observed until it is true.
func until(t *testing.T, what string, observed func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !observed(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
	}
}

func equal(t *testing.T, got, want interface{}) {
	t.Helper()
	gotText, err := json.Marshal(got)
	check(t, err)
	wantText, err := json.Marshal(want)
	check(t, err)
	if string(gotText) != string(wantText) {
		t.Fatalf("got %s, want %s", gotText, wantText)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
