package hub;

import static hub.Emulator.REGISTRY;
import static hub.Emulator.newDevice;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceStatus;
import com.microsoft.azure.sdk.iot.service.registry.RegistryStatistics;
import java.util.List;
import org.junit.jupiter.api.Test;

/** RegistryClient: how many devices there are. Nothing else uses the hub while this runs. */
class StatisticsTest {
    @Test
    void the_statistics_count_every_device_at_once() throws Exception {
        RegistryStatistics before = REGISTRY.getStatistics();
        Device first = newDevice();
        Device second = newDevice();
        second.setStatus(DeviceStatus.Disabled);
        REGISTRY.updateDevice(second);
        assertEquals(List.of(2L, 1L), grown(before, REGISTRY.getStatistics()));
        REGISTRY.removeDevice(first.getDeviceId());
        REGISTRY.removeDevice(second.getDeviceId());
        assertEquals(List.of(0L, 0L), grown(before, REGISTRY.getStatistics()));
    }

    /**
     * By how much the counts of all and of disabled devices have grown. Version 2.1.9 finds no enabled ones on any
     * hub: it looks for "enableDeviceCount", which the service calls "enabledDeviceCount".
     */
    private static List<Long> grown(RegistryStatistics before, RegistryStatistics after) {
        return List.of(
                after.getTotalDeviceCount() - before.getTotalDeviceCount(),
                after.getDisabledDeviceCount() - before.getDisabledDeviceCount());
    }
}
