//! `GET /statistics/devices` and `GET /statistics/service` (contract/rest.md 1.5).

use std::sync::Arc;

use axum::extract::State;
use hub::Hub;
use hub::gate::operations::{GetDeviceStatistics, GetServiceStatistics};
use hub::identity::{DeviceStatistics, ServiceStatistics};
use serde::Serialize;

use crate::error::Answer;
use crate::extract::Caller;
use crate::render;

pub(super) async fn of_devices(State(hub): State<Arc<Hub>>, caller: Caller) -> Answer {
    let by = caller.admit::<GetDeviceStatistics>(&hub, ()).await?;
    let DeviceStatistics { total, enabled, disabled } = hub.device_statistics(by)?;
    Ok(render::json(&DevicesJson {
        total_device_count: total,
        enabled_device_count: enabled,
        disabled_device_count: disabled,
    }))
}

pub(super) async fn of_service(State(hub): State<Arc<Hub>>, caller: Caller) -> Answer {
    let by = caller.admit::<GetServiceStatistics>(&hub, ()).await?;
    let ServiceStatistics { connected_devices } = hub.service_statistics(by)?;
    Ok(render::json(&ServiceJson { connected_device_count: connected_devices }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DevicesJson {
    total_device_count: usize,
    enabled_device_count: usize,
    disabled_device_count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceJson {
    connected_device_count: usize,
}
