//! The saved state of a virtual processor: the processor itself, its local APIC, and what it is doing.

use saved_state::{Restore, RestoreError, Save, SavedState};
use serde::{Deserialize, Serialize};
use x86_cpu::CpuStateV1;

use crate::lapic::LapicStateV1;
use crate::vcpu::Vcpu;
use crate::{Activity, Vm};

/// A virtual processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuStateV1 {
    /// The processor.
    pub cpu: CpuStateV1,
    /// The local APIC.
    pub lapic: LapicStateV1,
    /// 0 running, 1 halted, 2 waiting for a start-up IPI, 3 shut down.
    pub activity: u8,
}

impl SavedState for VcpuStateV1 {
    const KIND: &'static str = "vcpu";
    const VERSION: u16 = 1;
}

impl Save for Vcpu {
    type State = VcpuStateV1;

    fn save(&self) -> VcpuStateV1 {
        let Self { cpu, lapic, activity } = self;
        VcpuStateV1 {
            cpu: cpu.save(),
            lapic: lapic.save(),
            activity: match activity {
                Activity::Running => 0,
                Activity::Halted => 1,
                Activity::WaitForStartUp => 2,
                Activity::Shutdown => 3,
            },
        }
    }
}

impl Restore for Vcpu {
    fn restore(&mut self, state: VcpuStateV1) -> Result<(), RestoreError> {
        let VcpuStateV1 { cpu, lapic, activity } = state;
        let activity = match activity {
            0 => Activity::Running,
            1 => Activity::Halted,
            2 => Activity::WaitForStartUp,
            3 => Activity::Shutdown,
            other => {
                return Err(RestoreError::invalid::<VcpuStateV1>(
                    "activity",
                    format!("{other} is not an activity"),
                ));
            }
        };
        let mut new_lapic = self.lapic.clone();
        new_lapic.restore(lapic)?;
        self.cpu.restore(cpu)?;
        self.lapic = new_lapic;
        self.activity = activity;
        Ok(())
    }
}

impl Vm {
    /// The state of a processor.
    #[must_use]
    pub fn save_vcpu(&self, vcpu: usize) -> VcpuStateV1 {
        self.vcpus[vcpu].save()
    }

    /// Puts the state of a processor back.
    ///
    /// # Errors
    /// What in it cannot be; the processor is unchanged then.
    pub fn restore_vcpu(&mut self, vcpu: usize, state: VcpuStateV1) -> Result<(), RestoreError> {
        self.vcpus[vcpu].restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVITIES: [Activity; 4] =
        [Activity::Running, Activity::Halted, Activity::WaitForStartUp, Activity::Shutdown];

    #[test]
    fn processor_apic_and_activity_survive() {
        for activity in ACTIVITIES {
            let mut saved = Vcpu::new(1, 2);
            saved.activity = activity;
            saved.cpu.start_at_page(0x9a);
            saved.lapic.set_cr8(5);
            let state = saved.save();
            let mut restored = Vcpu::new(1, 2);
            assert_ne!(restored.save(), state, "there is something to restore");
            restored.restore(state.clone()).expect("a state that was saved");
            assert_eq!(restored.save(), state, "{activity:?}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_changes_nothing() {
        let mut vcpu = Vcpu::new(1, 2);
        let before = vcpu.save();
        let bad_activity = VcpuStateV1 { activity: 4, ..before.clone() };
        let other_processor = VcpuStateV1 { cpu: Vcpu::new(0, 2).cpu.save(), ..before.clone() };
        for state in [bad_activity, other_processor] {
            vcpu.restore(state).expect_err("no processor can be in that state");
            assert_eq!(vcpu.save(), before);
        }
    }
}
