package forms

// This file is data: the six forms of the platform. The API cuts long field names at
// about fifty characters. Their endings are irregular, so each field is written out. A
// label ends in "…" where the API cuts the question.

func builtIn() []ObjectType {
	return []ObjectType{
		loadComplianceDriver(), loadComplianceSupervisor(), couplingCompliance(),
		trailerAudit(), siteObservation(), forkliftPrestart(),
	}
}

// loadColumns and loadReferences belong to both load compliance checks.
func loadColumns() map[string]string {
	return map[string]string{
		"inspected_by": "inspectedBy", "driver_loader_name": "driverLoaderName",
		"job_number": "jobNumber", "run_number": "runNumber",
	}
}

func loadReferences() []ReferenceField {
	return []ReferenceField{
		{"vehicle", "Vehicle", "vehicle", "vehicle"},
		{"trailer", "Trailer", "trailer", "trailer"},
		{"trailer2", "Trailer 2", "trailer", "trailer2"},
		{"trailer3", "Trailer 3", "trailer", "trailer3"},
		{"whichDepartmentDoesTheLoadBelongTo", "Department of the load", "department", "department"},
		{"team", "Team", "team", "team"},
		{"customerClient", "Customer", "customer", ""},
	}
}

func loadComplianceDriver() ObjectType {
	return ObjectType{
		Code: "LCD", Name: "Load Compliance Check (Driver/Loader)",
		APIName: "loadComplianceCheckDriverLoader", IDField: "lcdInspectionId",
		Columns: loadColumns(), References: loadReferences(),
		Media: []MediaField{{"loaderPhotoAttachment", "loader_photo", kindPicture}, {"attachments", "photo", kindPicture}},
		Checklist: []Question{
			loadCompliant("Is your load compliant with the Load Restraint Guide 2004?",
				"isYourLoadCompliantWithTheLoadRestraintGuide2004Ye", "isYourLoadCompliantWithTheLoadRestraintGuide2004No"),
			counted("Straps used", "straps", "noOfStraps"),
			counted("Chains used", "chains", "noOfChains"),
		},
		Fields: []PlainField{
			{"inspectedBy", "Inspected by", kindText},
			{"vehicleId", "Vehicle registration", kindText},
			{"jobNumber", "Job number", kindText},
			{"runNumber", "Run number", kindText},
			{"driver", "Driver", kindBool},
			{"loader", "Loader", kindBool},
			{"driverLoaderName", "Driver or loader name", kindText},
			{"trailerId", "Trailer registration", kindText},
			{"totalLoadMassTrailer1", "Load mass, trailer 1", kindText},
			{"trailerId2", "Trailer 2 registration", kindText},
			{"totalLoadMassTrailer2", "Load mass, trailer 2", kindText},
			{"trailerId3", "Trailer 3 registration", kindText},
			{"totalLoadMassTrailer3", "Load mass, trailer 3", kindText},
			{"mass", "Mass", kindText},
			{"goldstarOrContactorList", "Goldstar or contractor", kindText},
			{"contractorName", "Contractor name", kindText},
			{"commentsActions", "Comments and actions", kindHTML},
		},
	}
}

func loadComplianceSupervisor() ObjectType {
	return ObjectType{
		Code: "LCS", Name: "Load Compliance Check (Supervisor/Manager)",
		APIName: "loadComplianceCheckSupervisorManager", IDField: "lcsInspectionId",
		Columns: loadColumns(), References: loadReferences(),
		Media: []MediaField{{"attachments", "photo", kindPicture}, {"signature", "signature", kindPicture}},
		Checklist: append(supervisorQuestions(),
			counted("Gluts used", "gluts", "noOfGluts"),
			counted("Straps used", "straps", "noOfStraps"),
			counted("Webbings used", "webbings", "noOfWebbings"),
			counted("Chains used", "chains", "noOfChains"),
			loadCompliant("Is the load compliant with the Load Restraint Guide?",
				"isTheLoadCompliantWithTheLoadRestraintGuideY", "isTheLoadCompliantWithTheLoadRestraintGuideN"),
		),
		Fields: []PlainField{
			{"inspectedBy", "Inspected by", kindText},
			{"jobNumber", "Job number", kindText},
			{"runNumber", "Run number", kindText},
			{"driverLoaderName", "Driver or loader name", kindText},
			{"vehicleId", "Vehicle registration", kindText},
			{"trailerId", "Trailer registration", kindText},
			{"trailerId2", "Trailer 2 registration", kindText},
			{"trailerId3", "Trailer 3 registration", kindText},
			{"goldstarOrContactorList", "Goldstar or contractor", kindText},
			{"contractorName", "Contractor name", kindText},
			{"mass", "Mass", kindText},
			{"commentsActions", "Comments and actions", kindHTML},
		},
	}
}

func supervisorQuestions() []Question {
	return []Question{
		yesNoNA("Vehicle is appropriate for the task, i.e. meets mass and dimension …",
			"vehicleIsAppropriateForTheTaskIEMeetsMassDimension", "vehicleIsAppropriateForTheTaskIEMeetsMassDimensionN", "vehicleIsAppropriateForTheTaskIEMeetsMassDimensionNA", "vehicleIsAppropriateForTheTaskText"),
		yesNoNA("Load distributed correctly over the vehicle axles",
			"loadDistributedCorrectlyOverTheVehicleAxlesY", "loadDistributedCorrectlyOverTheVehicleAxlesN", "loadDistributedCorrectlyOverTheVehicleAxlesNa", "loadDistributedCorrectlyText"),
		yesNoNA("Loads are either sitting on timber, rubber or anti-slip material",
			"loadAreEitherSittingOnTimberRubberOrAntiSlipMateri", "loadAreEitherSittingOnTimberRubberOrAntiSlipMateriN", "loadAreEitherSittingOnTimberRubberOrAntiSlipMateriNA", "loadAreEitherSittingText"),
		yesNoNA("Have Galas corners been applied to coils?",
			"haveGalasCornersBeenAppliedToCoilsY", "haveGalasCornersBeenAppliedToCoilsN", "haveGalasCornersBeenAppliedToCoilsNa", "haveGalasCornersBeenAppliedToCoilsText"),
		yesNoNA("Number of lashings used appropriate for the load",
			"numberOfLashingsUsedAppropriateForTheLoadY", "numberOfLashingsUsedAppropriateForTheLoadN", "numberOfLashingsUsedAppropriateForTheLoadNa", "numberOfLashingsText"),
		yesNoNA("Loads are not to be restrained at a low lashing angle (30)",
			"loadsAreNotToBeRestrainedAtLowLashingAngle30Y", "loadsAreNotToBeRestrainedAtLowLashingAngle30N", "loadsAreNotToBeRestrainedAtLowLashingAngle30Na", "loadsAreNotToBeRestrainedText"),
		yesNoNA("Additional restraint used for items that can be dislodged …",
			"additionalRestraintUsedForItemsThatCanBeDislodgedF", "additionalRestraintUsedForItemsThatCanBeDislodgedFN", "additionalRestraintUsedForItemsThatCanBeDislodgedFNA", "additionalRestraintUsedForItemsText"),
		yesNoNA("No loose items, e.g. dunnage, chains, straps etc., are left on the load",
			"noLooseItemsEGDunnageChainsStrapsEtcAreLeftOnTheLo", "noLooseItemsEGDunnageChainsStrapsEtcAreLeftOnTheLoN", "noLooseItemsEGDunnageChainsStrapsEtcAreLeftOnTheLoNA", "noLooseItemsText"),
		yesNoNA("Load does not exceed headboard height by more than half the …",
			"loadDoesNotExceedHeadboardHeightByMoreThanHalfTheT", "loadDoesNotExceedHeadboardHeightByMoreThanHalfTheTN", "loadDoesNotExceedHeadboardHeightByMoreThanHalfTheTNA", "loadDoesNotExceedHeadboardText"),
		yesNoNA("Load does not exceed mass, dimension or overhang requirements",
			"loadDoesNotExceedMassOrDimensionOverhangRequiremenY", "loadDoesNotExceedMassOrDimensionOverhangRequiremen", "loadDoesNotExceedMassOrDimensionOverhangRequiremenNA", "loadDoesNotExceedMassText"),
		yesNoNA("All pallets, skids or frames are in good condition and able to …",
			"allPalletsSkidsOrFramesAreInGoodConditionAndAbleToY", "allPalletsSkidsOrFramesAreInGoodConditionAndAbleToN", "allPalletsSkidsOrFramesAreInGoodConditionAndAbleToNA", "allPalletsSkidsOrFramesText"),
		yesNoNA("Tailgates, side and centre pins are secured to the trailer, e.g. …",
			"tailgatesSideAndCentrePinsAreSecuredToTheTrailerEGY", "tailgatesSideAndCentrePinsAreSecuredToTheTrailerEGN", "tailgatesSideAndCentrePinsAreSecuredToTheTrailerEGNA", "tailgatesSideAndCentreText"),
		yesNoNA("All lashings are anchored securely to the trailer, i.e. hooks …",
			"allLashingsAreAnchoredSecurelyToTheTrailerIEHooksNY", "allLashingsAreAnchoredSecurelyToTheTrailerIEHooksNN", "allLashingsAreAnchoredSecurelyToTheTrailerIEHooksNA", "allLashingsAreAnchoredText"),
		yesNoNA("All lashings positioned in line with dunnage and bearers …",
			"allLashingsPositionedInLineWithDunnageAndBearersFoY", "allLashingsPositionedInLineWithDunnageAndBearersFoN", "allLashingsPositionedInLineWithDunnageAndBearersFoNA", "allLashingsPositionedText"),
		yesNoNA("No rectangular dunnage on the short edge",
			"noRectangularDunnageOnTheShortEdgeYes", "noRectangularDunnageOnTheShortEdgeNo", "noRectangularDunnageOnTheShortEdgeNA", "noRectangularDunnageText"),
		yesNoNA("Appropriate strap and/or product protection is in place, e.g. …",
			"appropriateStrapAndOrProductProtectionIsInPlaceEGEY", "appropriateStrapAndOrProductProtectionIsInPlaceEGEN", "appropriateStrapAndOrProductProtectionIsInPlaceEGENA", "appropriateStrapAndOrProductText"),
		yesNoNA("Pallet jacks are parked and secured",
			"palletJacksAreParkedAndSecuredYes", "palletJacksAreParkedAndSecuredNo", "palletJacksAreParkedAndSecuredNA", "palletJacksAreParkedText"),
		yesNoNA("Dangerous goods loads have gates in place",
			"dangerousGoodsLoadsHaveGatesInPlaceYes", "dangerousGoodsLoadsHaveGatesInPlaceNo", "dangerousGoodsLoadsHaveGatesInPlaceNA", "dangerousGoodsLoadsText"),
		yesNoNA("Restraint equipment in good working condition (chains, tensioners …)",
			"restraintEquipmentInGoodWorkingConditionChainsTensY", "restraintEquipmentInGoodWorkingConditionChainsTensN", "restraintEquipmentInGoodWorkingConditionChainsTenNA", "restraintEquipmentText"),
		yesNoNA("Dunnage is aligned with sufficient clamp-down force to keep …",
			"dunnageIsAlignedWithSufficientClampDownForceToKeepY", "dunnageIsAlignedWithSufficientClampDownForceToKeepN", "dunnageIsAlignedWithSufficientClampDownForceToKeepNA", "dunnageIsAlignedText"),
		yesNoNA("Product protection is in place to prevent scratches and …",
			"productProtectionIsInPlaceToPreventScratchesAndProY", "productProtectionIsInPlaceToPreventScratchesAndProN", "productProtectionIsInPlaceToPreventScratchesAndProNA", "productProtectionText"),
		yesNoNA("Tool and dunnage boxes and racks secured",
			"toolDuunageBoxesRacksSecuredYes", "toolDuunageBoxesRacksSecuredNo", "toolDuunageBoxesRacksSecuredNA", "toolDuunageBoxesText"),
	}
}

func couplingCompliance() ObjectType {
	return ObjectType{
		Code: "CCC", Name: "Coupling Compliance Check",
		APIName: "couplingComplianceCheck", IDField: "couplingId",
		Columns: map[string]string{
			"inspected_by": "personCompleting", "job_number": "jobNumber", "run_number": "runNumber",
		},
		References: []ReferenceField{
			{"goldstarAsset", "Vehicle", "vehicle", "vehicle"},
			{"trailer", "Trailer", "trailer", "trailer"},
			{"trailer2", "Trailer 2", "trailer", "trailer2"},
			{"trailer3", "Trailer 3", "trailer", "trailer3"},
			{"team", "Team", "team", "team"},
			{"customerClient", "Customer", "customer", ""},
		},
		Media: []MediaField{
			{"contactBetweenTheSkidPlateTurntablePT1", "skid_plate_t1", kindPicture},
			{"turntableReleaseHandleFullyEngagedAndTheSafetyChaiPT1", "release_handle_t1", kindPicture},
			{"isTheKingPinFullyEngagedPT1", "king_pin_t1", kindPicture},
			{"contactBetweenTheSkidPlateTurntablePT2", "skid_plate_t2", kindPicture},
			{"isTheTurntableReleaseHandleFullyEngagedAndTheSafetPT2", "release_handle_t2", kindPicture},
			{"isTheKingPinFullyEngagedPT2", "king_pin_t2", kindPicture},
			{"isTheRingFeederPinFullyEngagedAndLockedIntoPlacePT", "ring_feeder", kindPicture},
			{"contactBetweenTheSkidPlateTurntablePT3", "skid_plate_t3", kindPicture},
			{"turntableReleaseHandleFullyEngagedAndTheSafetyChaiPT3", "release_handle_t3", kindPicture},
			{"isTheKingPinFullyEngagedPT3", "king_pin_t3", kindPicture},
			{"isTheRingFeederPinFullyEngagedAndLockedIntoPlacePT3", "ring_feeder_t3", kindPicture},
			{"haveTheTrailerLegsBeenRaisedPT1", "trailer_legs_t1", kindPicture},
			{"haveTheTrailerLegsBeenRaisedPT2", "trailer_legs_t2", kindPicture},
			{"haveTheTrailerLegsBeenRaisedPT3", "trailer_legs_t3", kindPicture},
		},
		Checklist: couplingQuestions(),
		Fields: []PlainField{
			{"personCompleting", "Person completing", kindText},
			{"vehicleId", "Vehicle registration", kindText},
			{"jobNumber", "Job number", kindText},
			{"runNumber", "Run number", kindText},
			{"trailerId", "Trailer registration", kindText},
			{"checkboxForTrailer2", "Trailer 2 ticked", kindBool},
			{"trailerId2", "Trailer 2 registration", kindText},
			{"checkboxForTrailer3", "Trailer 3 ticked", kindBool},
			{"trailerId3", "Trailer 3 registration", kindText},
		},
	}
}

func couplingQuestions() []Question {
	return []Question{
		ticked("Contact between the skid plate and turntable (trailer 1)",
			"contactBetweenTheSkidPlateTurntableYT1", "contactBetweenTheSkidPlateTurntablePT1"),
		ticked("Turntable release handle fully engaged and the safety chain … (trailer 1)",
			"turntableReleaseHandleFullyEngagedAndTheSafetyChaiYT1", "turntableReleaseHandleFullyEngagedAndTheSafetyChaiPT1"),
		ticked("Is the king pin fully engaged? (trailer 1)", "isTheKingPinFullyEngagedYT1", "isTheKingPinFullyEngagedPT1"),
		counted("Has a tug test been performed? (trailer 1)", "hasATugTestBeenPerformedYT1", "howManyTugTestsPerformedT1"),
		ticked("Contact between the skid plate and turntable (trailer 2)",
			"contactBetweenTheSkidPlateTurntableYT2", "contactBetweenTheSkidPlateTurntablePT2"),
		ticked("Turntable release handle fully engaged and the safety chain … (trailer 2)",
			"isTheTurntableReleaseHandleFullyEngagedAndTheSafetYT2", "isTheTurntableReleaseHandleFullyEngagedAndTheSafetPT2"),
		ticked("Is the king pin fully engaged? (trailer 2)", "isTheKingPinFullyEngagedYT2", "isTheKingPinFullyEngagedPT2"),
		counted("Has a tug test been performed? (trailer 2)", "hasATugTestBeenPerformedYT2", "howManyTugTestsPerformedT2"),
		// Its name holds no trailer number, because the API cuts it. The page of the
		// platform shows it here.
		ticked("Is the ring feeder pin fully engaged and locked into place?",
			"isTheRingFeederPinFullyEngagedAndLockedIntoPlaceYT", "isTheRingFeederPinFullyEngagedAndLockedIntoPlacePT"),
		ticked("Contact between the skid plate and turntable (trailer 3)",
			"contactBetweenTheSkidPlateTurntableYT3", "contactBetweenTheSkidPlateTurntablePT3"),
		ticked("Turntable release handle fully engaged and the safety chain … (trailer 3)",
			"turntableReleaseHandleFullyEngagedAndTheSafetyChaiT3", "turntableReleaseHandleFullyEngagedAndTheSafetyChaiPT3"),
		ticked("Is the king pin fully engaged? (trailer 3)", "isTheKingPinFullyEngagedYT3", "isTheKingPinFullyEngagedPT3"),
		counted("Has a tug test been performed? (trailer 3)", "hasATugTestBeenPerformedYT3", "howManyTugTestsPerformedT3"),
		ticked("Is the ring feeder pin fully engaged and locked into place? (trailer 3)",
			"isTheRingFeederPinFullyEngagedAndLockedIntoPlaceYT3", "isTheRingFeederPinFullyEngagedAndLockedIntoPlacePT3"),
		ticked("Have the trailer legs been raised? (trailer 1)", "haveTheTrailerLegsBeenRaisedYT1", "haveTheTrailerLegsBeenRaisedPT1"),
		ticked("Have the trailer legs been raised? (trailer 2)", "haveTheTrailerLegsBeenRaisedYT2", "haveTheTrailerLegsBeenRaisedPT2"),
		ticked("Have the trailer legs been raised? (trailer 3)", "haveTheTrailerLegsBeenRaisedYT3", "haveTheTrailerLegsBeenRaisedPT3"),
	}
}

func trailerAudit() ObjectType {
	equipment := yesNoNA("Load restraint equipment",
		"loadRestraintEquipmentYes", "loadRestraintEquipmentNo", "loadRestraintEquipmentNA", "")
	equipment.Details = []PlainField{
		{"noOfWebbingStraps", "Webbing straps", kindNumber},
		{"noOfChains", "Chains", kindNumber},
		{"noOfGluts", "Gluts", kindNumber},
	}
	return ObjectType{
		Code: "TA", Name: "Trailer Audit", APIName: "trailerAudits", IDField: "trailerAuditId",
		Columns: map[string]string{"inspected_by": "inspectedBy"},
		References: []ReferenceField{
			{"vehicle", "Vehicle", "vehicle", "vehicle"},
			{"team", "Team", "team", "team"},
			{"regularDriver", "Regular driver", "person", ""},
		},
		Checklist: []Question{
			{Label: "Driver present", Options: []Option{{"driverPresentYes", "Yes"}, {"driverPresentNo", "No"}}},
			graded("Externally", "externallyExcellent", "externallyGood", "externallyFair", "externallyUnacceptable"),
			graded("Internally and toolbox", "internallyToolboxExcellent", "internallyToolboxGood",
				"internallyToolboxFair", "internallyToolboxUnacceptable"),
			yesNoNA("Revolving beacon", "revolvingBeaconYes", "revolvingBeaconNo", "revolvingBeaconNA", ""),
			yesNoNA("Spare tyre", "spareTyreYes", "spareTyreNo", "spareTyreNA", ""),
			yesNoNA("Fire extinguisher", "fireExtinguisherYes", "fireExtinguisherNo", "fireExtinguisherNA", ""),
			equipment,
		},
		Fields: []PlainField{
			{"inspectedBy", "Inspected by", kindText},
			{"rego", "Registration", kindText},
			{"comments", "Comments", kindHTML},
			{"driverComment", "Driver comment", kindHTML},
			{"correctiveActions", "Corrective actions", kindText},
		},
	}
}

func siteObservation() ObjectType {
	return ObjectType{
		Code: "SO", Name: "Site Observation", APIName: "siteObservations", IDField: "siteObservationId",
		References: []ReferenceField{
			{"siteManager", "Site manager", "person", ""},
			{"department", "Department", "department", "department"},
			{"personInvolved", "Person involved", "person", ""},
			{"vehicleS", "Vehicle(s)", "vehicle", "vehicle"},
			{"inspectedBy", "Inspected by", "person", "inspected_by"},
		},
		Media: []MediaField{
			{"attachments1", "observation1", kindPicture},
			{"attachments2", "observation2", kindPicture},
			{"attachments3", "observation3", kindPicture},
			{"attachments4", "observation4", kindPicture},
		},
		Checklist: []Question{
			observation("Observation 1", "observation1Checkbox", "details1", "findings1", "summary1", "attachments1"),
			observation("Observation 2", "observation2Checkbox", "details2", "findings2", "summary2", "attachments2"),
			observation("Observation 3", "observation3Checkbox", "details3", "findings3", "summary3", "attachments3"),
			observation("Observation 4", "observation4Checkbox", "details4", "findings4", "summary4", "attachments4"),
		},
		Fields: []PlainField{{"correctiveActions", "Corrective actions", kindText}},
	}
}

func forkliftPrestart() ObjectType {
	o := ObjectType{
		Code: "FPI", Name: "Forklift Prestart Inspection",
		APIName: "forkliftPrestartInspection", IDField: "forkliftPrestartInspectionId",
		Columns: map[string]string{"inspected_by": "personsCompleting"},
		References: []ReferenceField{
			{"goldstarAsset", "Forklift", "vehicle", "vehicle"},
			{"team", "Team", "team", "team"},
		},
		Fields: []PlainField{
			{"preStartStatus", "Prestart status", kindText},
			{"assetType", "Asset type", kindText},
			{"assetId", "Asset id", kindText},
			{"assetName", "Asset name", kindText},
			{"personsCompleting", "Person(s) completing", kindText},
			{"hourReadingAtStartOfShift", "Hours at start of shift", kindNumber},
			{"comments", "Comments", kindHTML},
		},
	}
	for _, c := range []struct{ label, compliant, defect, comments, photos, stub string }{
		{"Damage", "damageCompliant", "damageDefect", "damageComments", "damageAttachment", "damage"},
		{"Fluid leaks", "fluidLeaksCompliant", "fluidLeaksDefect", "fluidLeaksComments", "fuelLeaksAttachment", "fluid_leaks"},
		{"Tyres and wheels", "tyresWheelsCompliant", "tyreWheelsDefect", "tyreWheelsComments", "tyreWheelAttachment", "tyres_wheels"},
		{"Fork tynes", "forkTynesCompliant", "forkTynesDefect", "forkTynesComments", "forkTynesAttachment", "fork_tynes"},
		{"Chains, hoses and cables", "chainsHosesCablesCompliant", "chainsHosesCablesDefect", "chainsHosesCablesComments", "chainHosesCablesAttachment", "chains_hoses_cables"},
		{"Guards", "guardsCompliant", "guardsDefect", "guardsComments", "guardsAttachment", "guards"},
		{"Safety devices", "safetyDevicesCompliant", "safetyDevicesDefect", "safetyDevicesComments", "safetyDevicesAttachment", "safety_devices"},
		{"Capacity rating plate and warning labels", "capacityRatingPlateWarningLabelsCompliant", "capacityRatingPlateWarningLabelsDefect", "capacityRatingPlateWarningLabelsComment", "capacityRatingPlateWarningLabelsAttachment", "capacity_plate"},
		{"Fluid level checks", "fluidLevelChecksCompliant", "fluidLevelChecksDefect", "fluidLevelChecksComments", "fluidLevelChecksAttachment", "fluid_levels"},
		{"LPG", "lpgCompliant", "lpgDefect", "lpgComments", "lpgAttachment", "lpg"},
		{"Radiator fan", "radiatorFanCompliant", "radiatorFanDefect", "radiatorFanComments", "radiatorFanAttachment", "radiator_fan"},
		{"Air cleaner", "airCleanerCompliant", "airCleanerDefect", "airCleanerComments", "airCleanerAttachment", "air_cleaner"},
		{"Transmission fluid levels", "transmissionFluidLevelsCompliant", "transmissionFluidLevelsDefect", "transmissionFluidLevelsComments", "transmissionFluidLevelsAttachment", "transmission_fluid"},
		{"Audible alarms", "audibleAlarmsCompliant", "audibleAlarmsDefect", "audibleAlarmsComments", "audibleAlarmsAttachment", "audible_alarms"},
		{"Brakes", "brakesCompliant", "brakesDefect", "brakesComments", "brakesAttachment", "brakes"},
		{"Inching pedal", "inchingPedalCompliant", "inchingPedalDefect", "inchingPedalComments", "inchingPedalAttachment", "inching_pedal"},
		{"Steering", "steeringCompliant", "steeringDefect", "steeringComments", "steeringAttachment", "steering"},
		{"Hydraulic controls", "hydraulicControlsCompliant", "hydraulicControlsDefect", "hydraulicControlsComments", "hydraulicControlsAttachment", "hydraulic_controls"},
		{"Attachments", "attachmentsCompliant", "attachmentsDefect", "attachmentComments", "attachmentsAttachment", "forklift_attachments"},
		{"Interlock and speed governor", "interlockSpeedGovernorCompliant", "interlockSpeedGovernorDefect", "interlockSpeedGovernorComments", "interlockSpeedGovernorAttachment", "speed_governor"},
	} {
		o.Media = append(o.Media, MediaField{c.photos, c.stub, kindPicture})
		o.Checklist = append(o.Checklist, Question{
			Label: c.label, Options: []Option{{c.compliant, "Compliant"}, {c.defect, "Defect"}},
			Details: []PlainField{{c.comments, "Comment", kindText}}, Photos: []string{c.photos},
		})
	}
	o.Media = append(o.Media, MediaField{"attachments", "photo", kindPicture})
	return o
}

func yesNoNA(label, yes, no, na, comment string) Question {
	q := Question{Label: label, Options: []Option{{yes, "Yes"}, {no, "No"}, {na, "Not applicable"}}}
	if comment != "" {
		q.Details = []PlainField{{comment, "Comment", kindText}}
	}
	return q
}

func loadCompliant(label, yes, no string) Question {
	return Question{
		Label: label, Column: "load_compliance", Options: []Option{{yes, "Compliant"}, {no, "Not compliant"}},
		Details: []PlainField{{"freeTextWhyIsTheLoadNotCompliant", "Why not compliant", kindText}},
	}
}

func ticked(label, yes, photos string) Question {
	return Question{Label: label, Options: []Option{{yes, "Yes"}}, Photos: []string{photos}}
}

func counted(label, yes, number string) Question {
	return Question{
		Label: label, Options: []Option{{yes, "Yes"}},
		Details: []PlainField{{number, "How many", kindNumber}},
	}
}

func graded(label, excellent, good, fair, unacceptable string) Question {
	return Question{Label: label, Options: []Option{
		{excellent, "Excellent"}, {good, "Good"}, {fair, "Fair"}, {unacceptable, "Unacceptable"},
	}}
}

func observation(label, checkbox, details, findings, summary, photos string) Question {
	return Question{
		Label: label, Options: []Option{{checkbox, "Yes"}}, Photos: []string{photos},
		Details: []PlainField{
			{details, "Details", kindHTML}, {findings, "Findings", kindHTML}, {summary, "Summary", kindHTML},
		},
	}
}
